"""The client that is kept for a Redis: one server, a cluster, or whichever server sentinels name.

The forms of the address:

- `redis://user:password@host:6379/0`, `rediss://…` for TLS
- `redis+cluster://user:password@host:port,host:port`, `rediss+cluster://…`
- `redis+sentinel://user:password@host:port,host:port/service-name/0`, `rediss+sentinel://…`; user and
  password are the servers', the sentinels' own are in the query: `?sentinel_username=…&sentinel_password=…`

What a user of the ACL needs: the keys `~ams:*` and `~{ams:*`, and the channels `&ams:*`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialBackoff
from redis.maint_notifications import MaintNotificationsConfig

RedisClient: TypeAlias = Redis | RedisCluster

_PORTS = {"redis": 6379, "cluster": 6379, "sentinel": 26379}
# A connection that was idle for so long is tried before it is used.
_HEALTH_CHECK_S = 15


class RedisUrlError(Exception):
    """The address of Redis has none of the forms that are known."""


def connect(
    url: str,
    *,
    ca_file: str = "",
    timeout_s: float = 0.5,
    retries: int = 1,
    decode_responses: bool = False,
    max_connections: int = 100,
) -> RedisClient:
    """A client that connects when it is first used. A call takes (retries + 1) × `timeout_s` at the longest,
    and a little for backing off.

    `ca_file`: PEM file of the authorities for TLS; "": the system's. `retries`: calls that aren't safe to
    repeat (the limits' leases) want 0. `decode_responses`: answers are text instead of bytes. A call for
    which there is none of `max_connections` fails."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or kind not in ("", "cluster", "sentinel"):
        raise RedisUrlError(f"redis: {parts.scheme}:// isn't known")
    options: dict[str, Any] = {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "health_check_interval": _HEALTH_CHECK_S,
        "max_connections": max_connections,
        "decode_responses": decode_responses,
        # Otherwise each connection begins with a command that open-source servers refuse.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "retry": Retry(ExponentialBackoff(cap=0.1, base=0.01), retries),
    }
    if scheme == "rediss":
        options |= {"ssl": True, "ssl_ca_certs": ca_file or None}
    addresses = _addresses(parts, _PORTS[kind or "redis"])
    path = [unquote(part) for part in parts.path.split("/") if part]
    if kind == "cluster":
        return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in addresses], **options)
    if kind == "sentinel":
        if not path:
            raise RedisUrlError("redis: a sentinel's address ends with /service-name or /service-name/db")
        return _by_sentinels(parts, addresses, path[0], options | {"db": _database(path[1:])})
    ((host, port),) = addresses[:1]
    return Redis(host=host, port=port, db=_database(path), **options)


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[RedisClient]:
    """A client as `connect` makes it, until the block ends."""
    client = connect(url, **options)
    try:
        yield client
    finally:
        await disconnect(client)


async def disconnect(client: RedisClient) -> None:
    """Closes the client's connections, those to its sentinels too, which its own `aclose` leaves open."""
    await client.aclose()
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _by_sentinels(
    parts: SplitResult, addresses: list[tuple[str, int]], service: str, options: dict[str, Any]
) -> Redis:
    """A client of whichever server is the primary when a connection is made."""
    query = parse_qs(parts.query)
    kept = ("socket_timeout", "socket_connect_timeout", "retry", "ssl", "ssl_ca_certs")
    own = {name: options[name] for name in kept if name in options} | {
        name: query[f"sentinel_{name}"][0] for name in ("username", "password") if f"sentinel_{name}" in query
    }
    sentinel: Any = Sentinel(addresses, sentinel_kwargs=own, **options)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(service)
    return client


def _addresses(parts: SplitResult, default_port: int) -> list[tuple[str, int]]:
    """The hosts of an address that may name several; IPv6 ones are in brackets."""
    addresses = []
    for address in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{address}")
        try:
            addresses.append((one.hostname or "127.0.0.1", one.port or default_port))
        except ValueError as error:
            raise RedisUrlError("redis: a port is a number") from error
    return addresses


def _database(path: list[str]) -> int:
    if not path:
        return 0
    if not path[0].isdigit():
        raise RedisUrlError("redis: a database is a number")
    return int(path[0])
