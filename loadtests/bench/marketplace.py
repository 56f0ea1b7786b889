"""How long the marketplace takes to search, count and list, among very many services.

.venv/bin/python -m ams_local exec --tests -- .venv/bin/python -m loadtests.bench.marketplace [--services N]

Fills a database of its own with --services services (100,000) of 500 merchants, and asks through gRPC for
words of many kinds. Exits with 1 when a p95 is above 50 ms. Needs DATABASE_URL (an administrator's).
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import grpc
from ams.catalog.v1 import catalog_service_pb2, discovery_service_pb2
from ams.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from ams.catalog.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from ams_common.client import invoke
from ams_common.migrations import migrate
from ams_common.testing.tokens import TestIssuer
from catalog_svc.testing import fill_marketplace

from loadtests.support.catalog import serving
from loadtests.support.databases import fresh_database
from loadtests.support.questions import BOUND_MS, measure, tell

Ask = Callable[[int], Awaitable[Any]]
_WORDS = ("weather", "payments", "maps", "routing", "translation", "invoices", "vision", "speech", "parcels")


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


async def run(options: argparse.Namespace) -> bool:
    """Whether all were quick enough."""
    async with fresh_database(os.environ["DATABASE_URL"], "catalog") as url:
        await migrate(url, "catalog_svc")
        connection = await asyncpg.connect(url)
        begun_s = time.monotonic()
        await fill_marketplace(connection, options.services)
        await connection.close()
        print(f"{options.services:,} services in {time.monotonic() - begun_s:.0f} s")
        is_quick = True
        async with serving(url, TestIssuer()) as channel:
            for name, ask in questions(channel, options.services).items():
                await ask(0)
                numbers = random.Random(7)
                about = [numbers.randrange(1_000_000) for _ in range(options.asked)]
                is_quick &= tell(name, await measure(ask, about))
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
