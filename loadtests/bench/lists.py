"""How long lists and single things take where there are very many.

make bench-lists ARGS="--services 100000 --asks 200"

Fills catalog-svc's database with services, their prices and revisions, serves its RPCs in this process on
real PostgreSQL, and asks them one after the other by gRPC as pages do: first and later pages in every order
and with every filter. Needs DATABASE_URL (an administrator's).
"""

import argparse
import asyncio
import os
import random
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import grpc
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams.catalog.v1 import revision_service_pb2 as revision_pb
from ams.catalog.v1.events_pb2 import ACTIVE, API, DOCKER, PENDING_APPROVAL, REJECTED
from ams.catalog.v1.revision_service_pb2_grpc import RevisionServiceStub
from ams.keys.v1.keys_service_pb2_grpc import KeysServiceStub
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.client import ServiceToken
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.migrations import migrate
from ams_common.server import build_server
from ams_common.testing.plugin import with_database
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier
from catalog_svc.grants import Grants
from catalog_svc.serving import services_of
from catalog_svc.store import Store
from catalog_svc.testing import SEALER

AIM_MS = 50.0
# Of a hundred services 94 are active, 2 of each other status; 3 are private, and 1 has a revision that waits.
FILL_MERCHANTS = """
INSERT INTO merchants (merchant_id, display_name, standing)
SELECT gen_random_uuid(), 'Merchant ' || n, 'active' FROM generate_series(1, $1::int) AS n
"""
FILL_SERVICES = """
INSERT INTO services (service_id, merchant_id, slug, name, description, type, status, base_url,
    documentation_url, version, tags, rate_limit_per_minute, additional_info, draft_price, rejection_reason,
    created_at, updated_at, published_at, merchant_name, categories, visibility, image_type)
SELECT gen_random_uuid(), owners[1 + n % array_length(owners, 1)], 's-' || n, 'Service ' || md5(n::text),
    'It answers questions about number ' || n || ' and other ones that people ask.', kind, status,
    CASE kind WHEN 'api' THEN 'https://a.example/' || n ELSE '' END, '', '1.0.' || n % 7,
    ARRAY['tag-' || n % 100], 60, '', CASE WHEN status = 'active' THEN NULL ELSE $1::jsonb END,
    CASE WHEN status = 'rejected' THEN 'No' ELSE '' END,
    now() - n * interval '1 second', now() - random() * interval '30 days',
    CASE WHEN status = 'active' THEN now() - random() * interval '300 days' END, 'Merchant',
    (ARRAY['{ai}', '{data}', '{weather,data}', '{finance}']::text[])[1 + n % 4]::text[],
    CASE WHEN n % 100 < 97 THEN 'public' ELSE 'private' END, CASE kind WHEN 'api' THEN '' ELSE 'worker' END
FROM (SELECT array_agg(merchant_id) AS owners FROM merchants) AS known,
    (SELECT n, CASE WHEN n % 10 = 0 THEN 'docker' ELSE 'api' END AS kind,
            CASE n % 100 WHEN 1 THEN 'draft' WHEN 2 THEN 'draft' WHEN 3 THEN 'pending_approval'
                 WHEN 4 THEN 'pending_approval' WHEN 5 THEN 'rejected' WHEN 6 THEN 'rejected'
                 ELSE 'active' END AS status
     FROM generate_series(1, $2::int) AS n) AS numbers
"""
FILL_PRICES = """
INSERT INTO price_versions (price_version_id, service_id, price, starts_at, created_at)
SELECT gen_random_uuid(), service_id, $1::jsonb, published_at, published_at
FROM services WHERE status = 'active'
"""
FILL_REVISIONS = """
INSERT INTO service_revisions (revision_id, service_id, number, status, content, created_at, updated_at)
SELECT gen_random_uuid(), service_id, 1, 'pending',
    '{"service_id": "x", "name": "Another name", "update_mask": "name"}', updated_at, updated_at
FROM services WHERE status = 'active' AND slug LIKE '%7'
"""
PRICE = (
    '{"currency": "EUR", "components": [{"meter": "requests", "scheme": "per_unit", "amount": "0.002"}],'
    ' "charge_rule": {"is_client_error_free": false, "is_abandoned_free": false}}'
)


@asynccontextmanager
async def filled_database(admin_url: str, services: int) -> AsyncIterator[str]:
    """The URL of a schema `catalog` of its own, with so many services."""
    name = f"bench_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        connection = await asyncpg.connect(with_database(admin_url, name))
        await connection.execute("CREATE SCHEMA catalog")
        await connection.close()
        url = f"{with_database(admin_url, name)}?search_path=catalog"
        await migrate(url, "catalog_svc")
        connection = await asyncpg.connect(url)
        await connection.execute(FILL_MERCHANTS, max(1, services // 100))
        await connection.execute(FILL_SERVICES, PRICE, services)
        await connection.execute(FILL_PRICES, PRICE)
        await connection.execute(FILL_REVISIONS)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        yield url
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


class Asking:
    """Questions as pages ask them, each so many times, and how long they took."""

    def __init__(self, channel: grpc.aio.Channel, issuer: TestIssuer, merchant_id: UUID, asks: int) -> None:
        self.catalog = rpc.CatalogServiceStub(channel)
        self.revisions = RevisionServiceStub(channel)
        self._tokens = {role: issuer.user_token(merchant_id, role) for role in (ADMIN, MERCHANT, CONSUMER)}
        self._asks = asks
        self.slow: list[str] = []

    async def call(self, method: Callable[..., Awaitable[Any]], request: Any, role: Any) -> Any:
        metadata = (("authorization", f"Bearer {self._tokens[role]}"),)
        return await method(request, metadata=metadata, timeout=60)

    async def measure(
        self, what: str, method: Callable[..., Awaitable[Any]], make: Callable[[int], Any], role: Any
    ) -> None:
        """Prints the line of one question."""
        took_ms = []
        for number in range(self._asks):
            request = make(number)
            began_s = time.perf_counter()
            await self.call(method, request, role)
            took_ms.append((time.perf_counter() - began_s) * 1000)
        took_ms.sort()
        p50, p95 = took_ms[len(took_ms) // 2], took_ms[int(len(took_ms) * 0.95)]
        if p95 > AIM_MS:
            self.slow.append(what)
        print(f"| {what} | {took_ms[0]:.1f} | {p50:.1f} | {p95:.1f} | {took_ms[-1]:.1f} |", flush=True)

    async def pages(
        self, what: str, method: Callable[..., Awaitable[Any]], kind: Any, role: Any, **fields: Any
    ) -> None:
        """A list's first page, and pages further on: each the one after the last that was asked for."""
        await self.measure(what, method, lambda _: kind(page_size=25, **fields), role)
        token = ""
        took_ms = []
        for _ in range(self._asks):
            request = kind(page_size=25, page_token=token, **fields)
            began_s = time.perf_counter()
            answer = await self.call(method, request, role)
            took_ms.append((time.perf_counter() - began_s) * 1000)
            token = answer.next_page_token
            if not token:
                break
        took_ms.sort()
        p95 = took_ms[int(len(took_ms) * 0.95)]
        if p95 > AIM_MS:
            self.slow.append(f"{what}, later pages")
        print(
            f"| … later pages | {took_ms[0]:.1f} | {took_ms[len(took_ms) // 2]:.1f} | {p95:.1f}"
            f" | {took_ms[-1]:.1f} |",
            flush=True,
        )


async def run(arguments: argparse.Namespace) -> int:
    issuer = TestIssuer()
    async with (
        filled_database(os.environ["DATABASE_URL"], arguments.services) as url,
        Database.open(url, Store, plans_each_time=True) as database,
    ):
        nowhere = grpc.aio.insecure_channel("127.0.0.1:1")
        grants = Grants(KeysServiceStub(nowhere), ServiceToken(nowhere, "catalog-svc", "secret"))
        server = build_server(
            TokenVerifier(issuer),
            services_of(
                database=database,
                clock=utc_now,
                sealer=SEALER,
                grants=grants,
                allow_private_upstreams=False,
            ),
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with database.connection() as connection:
            rows = await connection.fetch(
                "SELECT service_id, slug, merchant_id FROM services"
                " WHERE status = 'active' AND visibility = 'public' ORDER BY random() LIMIT 1000"
            )
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            asking = Asking(channel, issuer, rows[0]["merchant_id"], arguments.asks)
            print(f"{arguments.services} services, {arguments.asks} asks each, in milliseconds\n")
            print("| asked | least | p50 | p95 | most |\n|---|---|---|---|---|")
            await ask_all(asking, rows)
        await server.stop(None)
        await nowhere.close()
    if asking.slow:
        print(f"\nover {AIM_MS:.0f} ms at the 95th percentile: {', '.join(asking.slow)}")
    return 1 if asking.slow else 0


async def ask_all(asking: Asking, rows: list[asyncpg.Record]) -> None:
    catalog, revisions = asking.catalog, asking.revisions

    def one(number: int) -> Any:
        return random.Random(number).choice(rows)

    await asking.measure(
        "a service, by its admin",
        catalog.GetService,
        lambda number: pb.GetServiceRequest(service_id=str(one(number)["service_id"])),
        ADMIN,
    )
    await asking.measure(
        "a service of the marketplace",
        catalog.GetMarketplaceService,
        lambda number: pb.GetMarketplaceServiceRequest(service=one(number)["slug"]),
        CONSUMER,
    )
    for order_by in ("", "name", "status desc", "updated_at"):
        await asking.pages(
            f"all services, {order_by or 'newest first'}",
            catalog.ListServices,
            pb.ListServicesRequest,
            ADMIN,
            order_by=order_by,
        )
    for word, status in (("pending", PENDING_APPROVAL), ("rejected", REJECTED), ("active", ACTIVE)):
        for order_by in ("", "name"):
            await asking.pages(
                f"{word} services, {order_by or 'newest first'}",
                catalog.ListServices,
                pb.ListServicesRequest,
                ADMIN,
                status=status,
                order_by=order_by,
            )
    for order_by in ("", "name"):
        await asking.pages(
            f"a merchant's services, {order_by or 'newest first'}",
            catalog.ListMerchantServices,
            pb.ListMerchantServicesRequest,
            MERCHANT,
            order_by=order_by,
        )
    filters: tuple[tuple[str, dict[str, Any]], ...] = (
        ("", {}),
        (" in a category", {"category": "weather"}),
        (" with a tag", {"tag": "tag-7"}),
        (" that are APIs", {"type": API}),
        (" that are images", {"type": DOCKER}),
    )
    for word, fields in filters:
        for order_by in ("", "name"):
            await asking.pages(
                f"the marketplace{word}, {order_by or 'newest first'}",
                catalog.ListMarketplaceServices,
                pb.ListMarketplaceServicesRequest,
                CONSUMER,
                order_by=order_by,
                **fields,
            )
    await asking.measure(
        "the marketplace, for a word",
        catalog.ListMarketplaceServices,
        lambda number: pb.ListMarketplaceServicesRequest(page_size=25, query=f"{70_000 + number}"),
        CONSUMER,
    )
    await asking.pages(
        "revisions that wait", revisions.ListPendingRevisions, revision_pb.ListPendingRevisionsRequest, ADMIN
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=100_000)
    parser.add_argument("--asks", type=int, default=200)
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
