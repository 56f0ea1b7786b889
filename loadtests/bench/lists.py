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
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import grpc
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams.catalog.v1 import revision_service_pb2 as revision_pb
from ams.catalog.v1.events_pb2 import ACTIVE, API, DOCKER, PENDING_APPROVAL, REJECTED
from ams.catalog.v1.revision_service_pb2_grpc import RevisionServiceStub
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.migrations import migrate
from ams_common.testing.tokens import TestIssuer

from loadtests.support.catalog import serving
from loadtests.support.databases import fresh_database
from loadtests.support.questions import BOUND_MS, measure, tell

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


async def fill(connection: asyncpg.Connection, services: int) -> list[asyncpg.Record]:
    """Makes so many services; some of the active ones."""
    await connection.execute(FILL_MERCHANTS, max(1, services // 100))
    await connection.execute(FILL_SERVICES, PRICE, services)
    await connection.execute(FILL_PRICES, PRICE)
    await connection.execute(FILL_REVISIONS)
    await connection.execute("VACUUM ANALYZE")
    rows: list[asyncpg.Record] = await connection.fetch(
        "SELECT service_id, slug, merchant_id FROM services"
        " WHERE status = 'active' AND visibility = 'public' ORDER BY random() LIMIT 1000"
    )
    return rows


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

        async def ask(number: int) -> None:
            await self.call(method, make(number), role)

        self._tell(what, await measure(ask, range(self._asks)))

    async def pages(
        self, what: str, method: Callable[..., Awaitable[Any]], kind: Any, role: Any, **fields: Any
    ) -> None:
        """A list's first page, and pages further on: each the one after the last that was asked for."""
        await self.measure(what, method, lambda _: kind(page_size=25, **fields), role)
        token = ""

        async def go_on(_: int) -> None:
            nonlocal token
            answer = await self.call(method, kind(page_size=25, page_token=token, **fields), role)
            token = answer.next_page_token

        def until_the_last() -> Iterator[int]:
            for number in range(self._asks):
                yield number
                if not token:
                    return

        self._tell(f"{what}, later pages", await measure(go_on, until_the_last()))

    def _tell(self, what: str, took_ms: list[float]) -> None:
        if not tell(what, took_ms):
            self.slow.append(what)


async def run(arguments: argparse.Namespace) -> int:
    issuer = TestIssuer()
    async with fresh_database(os.environ["DATABASE_URL"], "catalog") as url:
        await migrate(url, "catalog_svc")
        connection = await asyncpg.connect(url)
        rows = await fill(connection, arguments.services)
        await connection.close()
        print(f"{arguments.services} services, {arguments.asks} asks each")
        async with serving(url, issuer) as channel:
            asking = Asking(channel, issuer, rows[0]["merchant_id"], arguments.asks)
            await ask_all(asking, rows)
    if asking.slow:
        print(f"\nover {BOUND_MS:.0f} ms at the 95th percentile: {', '.join(asking.slow)}")
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
    for words in ("weather", "7f3a", "7f3a9 number", "nowhere"):
        await asking.measure(
            f"all services, for {words}",
            catalog.ListServices,
            lambda _, words=words: pb.ListServicesRequest(page_size=25, query=words),  # type: ignore[misc]
            ADMIN,
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
