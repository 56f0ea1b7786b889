"""A gateway under uvicorn in the present event loop, and consumers' keys for it."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn
from ams.catalog.v1 import events_pb2 as catalog
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams.usage.v1 import events_pb2 as usage
from ams_common import apikeys
from ams_common.redis_client import connect, disconnect
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS
from ams_common.snapshots import INVALIDATION_CHANNEL, key_snapshot_key, service_snapshot_key
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ams_gateway.access.snapshot_cache import Source, SourceDownError
from ams_gateway.app import build, server_options
from ams_gateway.metering.records import read_records
from ams_gateway.metrics import answers
from ams_gateway.runtime import Runtime
from ams_gateway.settings import Settings
from ams_gateway.supervisor import listen


class SeededSource:
    """The owner of snapshots in tests without our services, which put them into Redis: it knows what is
    there, so that on a busy machine a Redis that is late isn't contradicted by an owner who knows nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def load(self, name: str) -> bytes | None:
        client: Any = connect(self._settings.redis_url, ca_file=self._settings.redis_ca_file, timeout_s=5)
        try:
            found: bytes | None = await client.get(name)
        except (RedisError, OSError):
            return None
        finally:
            await disconnect(client)
        return found

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        # Not "nothing has changed", which would count as confirmed: then Redis is asked.
        raise SourceDownError


@dataclass
class Running:
    port: int
    operator_port: int
    runtime: Runtime
    directory: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def operator_url(self) -> str:
        return f"http://127.0.0.1:{self.operator_port}"

    def events(self) -> list[usage.UsageEvent]:
        """Every event that was ever journalled, acknowledged or not."""
        found = []
        for path in sorted(self.directory.glob("journal-*/*.seg")):
            found += [usage.UsageEvent.FromString(event) for event, _ in read_records(path.read_bytes())]
        return found

    async def raw(self, data: bytes) -> bytes:
        """Everything that comes back for these bytes until the gateway closes or is quiet for a while."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            # On a busy machine the first of it may take long; what comes after it hardly does.
            while piece := await asyncio.wait_for(reader.read(65536), 0.5 if received else 10):
                received += piece
        writer.close()
        return received


@dataclass
class GrantedKey:
    """One key and one service in Redis, as their owners would have written them."""

    redis: "Redis"
    base_url: str
    key: apikeys.ApiKey = field(default_factory=apikeys.generate)
    service_id: str = field(default_factory=lambda: str(uuid4()))
    slug: str = field(default_factory=lambda: f"s-{secrets.token_hex(6)}")
    consumer_id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key.secret}", "X-AMS-Service": self.slug}

    async def write_key(self, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "key_id": str(uuid4()),
            "consumer_id": self.consumer_id,
            "key_prefix": self.key.prefix,
            "service_ids": [self.service_id],
            "status": keys.KEY_ACTIVE,
            "consumer_standing": identity.STANDING_ACTIVE,
        }
        expires_in_s, silently = changes.pop("expires_in_s", 3600), changes.pop("silently", False)
        snapshot = keys.KeySnapshot(**(fields | changes))
        snapshot.expires_at.FromSeconds(int(time.time()) + expires_in_s)
        name = key_snapshot_key(self.key.sha256)
        await self._write(snapshot.SerializeToString(), name, silently=silently)

    async def write_service(self, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "service_id": self.service_id,
            "slug": self.slug,
            "merchant_id": str(uuid4()),
            "status": catalog.ACTIVE,
            "merchant_standing": identity.STANDING_ACTIVE,
            "base_url": self.base_url,
            "price_version_id": str(uuid4()),
        }
        data = catalog.ServiceSnapshot(**(fields | changes)).SerializeToString()
        await self._write(data, *(service_snapshot_key(name) for name in (self.service_id, self.slug)))

    async def _write(self, data: bytes, *names: str, silently: bool = False) -> None:
        for name in names:
            await self.redis.set(name, data, ex=600)
            if not silently:
                await self.redis.publish(INVALIDATION_CHANNEL, name)

    async def write(self) -> "GrantedKey":
        await self.write_key()
        await self.write_service()
        return self


def settings_for(redis_url: str, kafka_bootstrap: str, directory: Path, **changes: Any) -> Settings:
    fields: dict[str, Any] = {
        "redis_url": redis_url,
        "kafka_bootstrap_servers": kafka_bootstrap,
        "identity_address": "127.0.0.1:1",
        "keys_address": "127.0.0.1:1",
        "catalog_address": "127.0.0.1:1",
        "service_secret": "",
        "sealing_keys": DEVELOPMENT_SEALING_KEYS,
        "journal_dir": str(directory),
        "journal_keep_hours": 0.0,
        "allow_private_upstreams": True,
        "kafka_topic_prefix": "gateway-tests.",
        "listen": "127.0.0.1:0",
        "drain_s": 5.0,
    }
    return Settings(**(fields | changes))


@contextlib.asynccontextmanager
async def serve_gateway(
    settings: Settings, sources: tuple[Source, Source] | None = None
) -> AsyncIterator[Running]:
    """`sources`: the owners of keys and services; None: nobody is there but Redis."""
    # All gateways of a process count into the same metric: this one's answers are to be seen alone.
    answers().clear()
    listener, operators = listen("127.0.0.1:0"), listen("127.0.0.1:0")
    app = build(settings, sources or (SeededSource(settings), SeededSource(settings)), operators)
    server = uvicorn.Server(uvicorn.Config(app, **server_options(settings)))
    ports = [each.getsockname()[1] for each in (listener, operators)]
    # serve() would take over the test run's signals.
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    while not server.started:
        if serving.done():
            await serving
        await asyncio.sleep(0.01)
    try:
        yield Running(ports[0], ports[1], app.state.runtime, Path(settings.journal_dir))
    finally:
        server.should_exit = True
        await serving
