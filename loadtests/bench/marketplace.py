"""How long the marketplace takes to search, count and list, among very many services.

.venv/bin/python -m ams_local exec --tests -- .venv/bin/python -m loadtests.bench.marketplace [--services N]

Fills a database of its own with --services services (100,000) of 500 merchants, and asks through gRPC for
words of many kinds. Exits with 1 when a p95 is above 50 ms. Needs DATABASE_URL (an administrator's).
"""

import argparse
import asyncio
import os
import random
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
from ams.catalog.v1 import catalog_service_pb2, discovery_service_pb2
from ams.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from ams.catalog.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from ams.keys.v1.keys_service_pb2_grpc import KeysServiceStub
from ams_common.client import ServiceToken, invoke
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.migrations import migrate
from ams_common.provision import make_extensions
from ams_common.server import build_server
from ams_common.testing.plugin import with_database
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier
from catalog_svc.grants import Grants
from catalog_svc.serving import services_of
from catalog_svc.store import Store
from catalog_svc.testing import SEALER, fill_marketplace

BOUND_MS = 50.0
Ask = Callable[[int], Awaitable[Any]]
_WORDS = ("weather", "payments", "maps", "routing", "translation", "invoices", "vision", "speech", "parcels")


@asynccontextmanager
async def fresh_database(admin_url: str) -> AsyncIterator[str]:
    """The URL of a new database with an empty schema `catalog`."""
    name = f"bench_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        connection = await asyncpg.connect(with_database(admin_url, name))
        await connection.execute("CREATE SCHEMA catalog")
        await make_extensions(connection, "catalog")
        await connection.close()
        yield f"{with_database(admin_url, name)}?search_path=catalog"
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[grpc.aio.Channel]:
    """catalog-svc's own servicers, with keys-svc away."""
    away = grpc.aio.insecure_channel("127.0.0.1:1")
    grants = Grants(KeysServiceStub(away), ServiceToken(away, "catalog-svc", ""))
    async with Database.open(url, Store, plans_each_time=True) as database:
        services = services_of(
            database=database, clock=utc_now, sealer=SEALER, grants=grants, allow_private_upstreams=False
        )
        server = build_server(TokenVerifier(TestIssuer()), services)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        await server.stop(None)
    await away.close()


def questions(channel: grpc.aio.Channel, services: int) -> Mapping[str, Ask]:
    """What is asked, each time of something else."""
    catalog, discovery = CatalogServiceStub(channel), DiscoveryServiceStub(channel)

    def listed(make: Callable[[int], dict[str, Any]]) -> Ask:
        message = catalog_service_pb2.ListMarketplaceServicesRequest
        return lambda n: invoke(catalog.ListMarketplaceServices, message(page_size=24, **make(n)))

    def counted(make: Callable[[int], dict[str, Any]]) -> Ask:
        message = discovery_service_pb2.GetMarketplaceFacetsRequest
        return lambda n: invoke(discovery.GetMarketplaceFacets, message(**make(n)))

    def related(n: int) -> Awaitable[Any]:
        message = discovery_service_pb2.ListRelatedServicesRequest(service=f"s-{n % services // 10 * 10 + 1}")
        return invoke(discovery.ListRelatedServices, message)

    def word(n: int) -> str:
        return _WORDS[n % len(_WORDS)]

    return {
        "search: a rare word": listed(lambda n: {"query": f"rare{n % services}"}),
        "search: a frequent word": listed(lambda n: {"query": word(n)}),
        "search: two words": listed(lambda n: {"query": f"{word(n)} {word(n + 4)}"}),
        "search: a beginning": listed(lambda n: {"query": word(n)[:3]}),
        "search: a typo": listed(lambda n: {"query": word(n)[:3] + word(n)[4:]}),
        "search: a merchant": listed(lambda n: {"query": f"merchant {n % 500}"}),
        "search: frequent, by name": listed(lambda n: {"query": word(n), "order_by": "name"}),
        "list: newest": listed(lambda _: {}),
        "list: cheapest month": listed(lambda _: {"order_by": "typical_month"}),
        "list: a tag": listed(lambda n: {"tag": f"batch{n % 1000}"}),
        "facets: of all": counted(lambda _: {}),
        "facets: a frequent word": counted(lambda n: {"query": word(n)}),
        "facets: three filters": counted(
            lambda n: {"query": word(n), "category": "weather", "currency_code": "USD"}
        ),
        "related": related,
    }


async def measure(ask: Ask, times: int) -> list[float]:
    """How long each took, in milliseconds, the quickest first."""
    await ask(0)
    numbers = random.Random(7)
    took_ms = []
    for _ in range(times):
        number = numbers.randrange(1_000_000)
        begun_s = time.perf_counter()
        await ask(number)
        took_ms.append((time.perf_counter() - begun_s) * 1000)
    return sorted(took_ms)


async def run(options: argparse.Namespace) -> bool:
    """Whether all were quick enough."""
    async with fresh_database(os.environ["DATABASE_URL"]) as url:
        await migrate(url, "catalog_svc")
        connection = await asyncpg.connect(url)
        begun_s = time.monotonic()
        await fill_marketplace(connection, options.services)
        await connection.close()
        print(f"{options.services:,} services in {time.monotonic() - begun_s:.0f} s")
        is_quick = True
        async with serving(url) as channel:
            for name, ask in questions(channel, options.services).items():
                took_ms = await measure(ask, options.asked)
                p50, p95 = (took_ms[int(len(took_ms) * share)] for share in (0.5, 0.95))
                is_quick &= p95 <= BOUND_MS
                print(
                    f"{name:26} p50 {p50:6.1f} ms  p95 {p95:6.1f} ms  max {took_ms[-1]:6.1f} ms", flush=True
                )
    return is_quick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--services", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=100, help="times that each question is asked")
    is_quick = asyncio.run(run(parser.parse_args()))
    print("quick enough" if is_quick else f"a p95 is above {BOUND_MS:.0f} ms")
    sys.exit(0 if is_quick else 1)


if __name__ == "__main__":
    main()
