"""`make bench-limits`: at ten times the limit, how many calls two gateways let through in any 60 seconds.

    python -m loadtests.bench.limits [--limit N] [--seconds S] [--outage S]

Two gateways of two workers each behind HTTP, before one Redis. One consumer calls both over many connections,
ten times as often as it may; the merchant's API writes down when each call came. The table has the most that
came in any 60 seconds, by when they begin, beside the limit. Then the same once more, with Redis killed after
a third of the time and back so many seconds later without what it held. Exits with 1 when more came than the
limit, or, without the outage, less than 98 % of it at steady load.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.identity.v1 import identity_service_pb2_grpc as identity_rpc
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams_common import apikeys
from ams_common.ports import free_port
from ams_gateway.testing.owners import Identity, Keys, Services, serve
from ams_local.execution import end_on_signals
from ams_local.redis import Redis

from loadtests.support.gateway import Gateway, Servers, gateway
from loadtests.support.seeds import Service, key_snapshot, new_slug

GATEWAYS, WORKERS_EACH, TIMES = 2, 2, 10
# To each gateway: enough for the kernel to give each worker some.
CONNECTIONS = 16
WINDOW_S, STEP_S = 60.0, 10
LEAST_SHARE = 0.98
NOBODY = "127.0.0.1:1"


@dataclass
class Upstream:
    """The merchant's API."""

    port: int = 0
    came_at_s: list[float] = field(default_factory=list)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.came_at_s.append(time.monotonic())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.converse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()


@dataclass
class Caller:
    """A consumer with many connections."""

    request: bytes
    statuses: Counter[int] = field(default_factory=Counter)
    longest_s: float = 0.0

    async def call(self, port: int, first_s: float, every_s: float, end_s: float) -> None:
        """Over one connection, at times that are due whatever the answers take."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due_s = first_s
        while due_s < end_s:
            await asyncio.sleep(due_s - time.monotonic())
            asked_s = time.monotonic()
            writer.write(self.request)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            [length] = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
            await reader.readexactly(length)
            self.statuses[int(lines[0].split(b" ")[1])] += 1
            self.longest_s = max(self.longest_s, time.monotonic() - asked_s)
            due_s += every_s
        writer.close()

    async def call_all(self, gateways: list[Gateway], per_s: float, seconds: float) -> None:
        ports = [each.port for each in gateways for _ in range(CONNECTIONS)]
        begin_s = time.monotonic()
        await asyncio.gather(
            *(
                self.call(port, begin_s + number / per_s, len(ports) / per_s, begin_s + seconds)
                for number, port in enumerate(ports)
            )
        )


@contextlib.asynccontextmanager
async def market(upstream: Upstream, limit: int) -> AsyncIterator[tuple[dict[str, str], Caller]]:
    """One key for one service, known to those that own such; where the gateways find these, and the consumer.
    A Redis that comes back empty says nothing against what they know."""
    service = Service(new_slug("limits"), f"http://127.0.0.1:{upstream.port}", rate_limit_per_minute=limit)
    key = apikeys.generate()
    keys, services, identity = Keys(), Services(), Identity()  # type: ignore[abstract]
    keys.snapshots[key.sha256] = key_snapshot(key, [service])
    snapshot = service.snapshot()
    services.snapshots = {service.slug: snapshot, service.service_id: snapshot}
    lines = f"GET /api/consume/{service.slug}/x HTTP/1.1", "Host: g.example", f"X-API-Key: {key.secret}"
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    async with (
        serve(identity_rpc.add_IdentityServiceServicer_to_server, identity) as identity_link,
        serve(keys_rpc.add_KeysServiceServicer_to_server, keys) as keys_link,
        serve(catalog_rpc.add_CatalogServiceServicer_to_server, services) as catalog_link,
    ):
        owners = {"identity-svc": identity_link, "keys-svc": keys_link, "catalog-svc": catalog_link}
        yield (
            {name: f"127.0.0.1:{link.port}" for name, link in owners.items()},
            Caller(request),
        )


async def go_away(redis: Redis, after_s: float, outage_s: float) -> None:
    """Kill Redis and start it again, empty."""
    await asyncio.sleep(after_s)
    await asyncio.to_thread(redis.stop)
    await asyncio.sleep(outage_s)
    await asyncio.to_thread(redis.launch)


async def run(redis: Redis, home: Path, limit: int, seconds: float, outage_s: float) -> bool:
    upstream = Upstream()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(upstream.serving())
        addresses, caller = await stack.enter_async_context(market(upstream, limit))
        gateways = []
        for number in range(GATEWAYS):
            # Starting takes seconds, in which the owners answer on.
            started = gateway(
                Servers(redis.url, NOBODY),
                home / f"journal-{number}-{outage_s:.0f}",
                workers=WORKERS_EACH,
                # The journals' events are nobody's.
                GATEWAY_DRAIN_S="1",
                IDENTITY_ADDRESS=addresses["identity-svc"],
                KEYS_ADDRESS=addresses["keys-svc"],
                CATALOG_ADDRESS=addresses["catalog-svc"],
            )
            gateways.append(await asyncio.to_thread(stack.enter_context, started))
        away = None
        if outage_s:
            away = asyncio.create_task(go_away(redis, seconds / 3, outage_s))
        begin_s = time.monotonic()
        await caller.call_all(gateways, limit * TIMES / 60, seconds)
        if away is not None:
            await away
        for each in gateways:
            print(f"  {each.url}: {each.answers()}")
    print(f"  answers {dict(caller.statuses)}, the longest took {caller.longest_s * 1e3:.0f} ms")
    return judge(sorted(upstream.came_at_s), begin_s, seconds, limit, is_steady=not outage_s)


def judge(times_s: list[float], begin_s: float, seconds: float, limit: int, *, is_steady: bool) -> bool:
    worst = table(times_s, begin_s, seconds, limit)
    print(f"  {len(times_s)} came through; most in any 60 s {worst} of {limit}")
    turns = [after - before for before, after in zip(times_s, times_s[limit:], strict=False)]
    if not turns or not is_steady:
        return worst <= limit
    mean_s = sum(turns) / len(turns)
    print(f"  at steady load a call's place is free again after {mean_s:.2f} s: {60 / mean_s:.1%} pass")
    return worst <= limit and 60 / mean_s >= LEAST_SHARE


def table(times_s: list[float], begin_s: float, seconds: float, limit: int) -> int:
    """Prints the most that came in any 60 s, by when they begin; returns the most of all."""
    worst = 0
    print("  60 s that begin at | had at most | limit")
    for step in range(0, int(seconds), STEP_S):
        from_s = begin_s + step
        # The most is had by an interval that begins with a call, or with the step.
        starts_s = [from_s, *times_s[bisect_left(times_s, from_s) : bisect_left(times_s, from_s + STEP_S)]]
        most = max(
            bisect_right(times_s, start_s + WINDOW_S) - bisect_left(times_s, start_s) for start_s in starts_s
        )
        worst = max(worst, most)
        more = "  MORE" if most > limit else ""
        print(f"  {step:>6} … {step + STEP_S:>3} s     | {most:>11} | {limit:>5}{more}")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=int, default=600, help="calls a minute")
    parser.add_argument("--seconds", type=float, default=180, help="of each of the two runs")
    parser.add_argument("--outage", type=float, default=20, help="seconds without Redis, in the second run")
    options = parser.parse_args()
    end_on_signals()
    held = []
    for outage_s in (0.0, options.outage):
        told = f", Redis away for {outage_s:.0f} s and back without its memory" if outage_s else ""
        print(f"limit {options.limit} a minute, {TIMES} times as much offered, {options.seconds:.0f} s{told}")
        with tempfile.TemporaryDirectory(prefix="ams-limits-") as home:
            redis = Redis(Path(home), free_port(), throwaway=True)
            redis.launch()
            redis.wait()
            try:
                held.append(asyncio.run(run(redis, Path(home), options.limit, options.seconds, outage_s)))
            finally:
                redis.stop()
    print("held" if all(held) else "NOT HELD")
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
