"""ListServices, ListMerchantServices and ListMarketplaceServices: every order, and the search for words."""

from typing import Any

import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.client import invoke
from ams_common.money import to_decimal
from ams_common.paging import PageRequest
from ams_common.testing.lists import Ask, check_orders, check_orders_while_rows_come, walk
from catalog_svc.marketplace_store import MarketplaceStore
from catalog_svc.messages import status_word
from catalog_svc.store import Store
from catalog_svc.testing import Caller, Catalog, price

NAMES = ["weather", "Weather", "Ärzte", "ärzte", "Zebra", "apple", "Österreich", "10 %", "WEATHER"]


def ask(catalog: Catalog, caller: Caller, method: str) -> Ask:
    async def call(**fields: Any) -> Any:
        request = getattr(pb, f"{method}Request")(**fields)
        return await invoke(getattr(catalog.stub, method), request, token=caller.token)

    return call


def status_of(service: pb.Service) -> str | None:
    return status_word(service.status)


SORT_KEYS = {
    "name": lambda service: service.name.lower(),
    "status": status_of,
    "created_at": lambda service: service.created_at.ToNanoseconds(),
    "updated_at": lambda service: service.updated_at.ToNanoseconds(),
}
MARKETPLACE_SORT_KEYS = {
    "name": SORT_KEYS["name"],
    "published_at": lambda service: service.published_at.ToNanoseconds(),
    "typical_month": lambda service: (
        service.typical_month.currency_code,
        to_decimal(service.typical_month),
    ),
}


@pytest.fixture
async def merchant(catalog: Catalog) -> Caller:
    """One with services of three statuses, whose times are partly the same."""
    merchant = await catalog.known_merchant("Acme Ltd")
    for number, name in enumerate(NAMES):
        make = (catalog.create, catalog.submit, catalog.publish)[number % 3]
        await make(merchant, name=name)
    await make_ties(catalog)
    return merchant


async def make_ties(catalog: Catalog) -> None:
    """Times of two or three values, in no order that ids are in."""
    await catalog.execute(
        """
        UPDATE services SET created_at = now() - rank % 3 * interval '1 s',
            updated_at = now() - rank % 2 * interval '1 s',
            published_at = CASE status WHEN 'active' THEN now() - rank % 3 * interval '1 s' END
        FROM (SELECT service_id, row_number() OVER (ORDER BY service_id) AS rank FROM services) AS ranked
        WHERE ranked.service_id = services.service_id
        """
    )


async def test_an_admin_gets_all_services_in_every_order(catalog: Catalog, merchant: Caller) -> None:
    await catalog.create(await catalog.known_merchant("Globex"), name="Maps")
    await check_orders(ask(catalog, catalog.admin(), "ListServices"), SORT_KEYS, "created_at desc")


async def test_a_merchant_gets_its_own_services_in_every_order(catalog: Catalog, merchant: Caller) -> None:
    other = await catalog.create(await catalog.known_merchant("Globex"), name="Weather")
    listed = ask(catalog, merchant, "ListMerchantServices")
    await check_orders(listed, SORT_KEYS, "created_at desc")
    shown = await walk(listed, page_size=2, order_by="name") + await walk(listed, query="weather")
    assert other.service_id not in [service.service_id for service in shown]
    assert {service.merchant_id for service in shown} == {str(merchant.user_id)}


@pytest.mark.parametrize(("query", "most"), [("", 2_000), ("forecast", 2_000), ("forecast", 9)])
async def test_everybody_gets_the_marketplace_in_every_order(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, query: str, most: int
) -> None:
    # With 9 the search finds as many as are sorted at most, and goes along the order.
    monkeypatch.setattr(MarketplaceStore, "most_ranked", most)
    monkeypatch.setattr(MarketplaceStore, "most_sorted", most)
    merchant = await catalog.known_merchant("Acme Ltd")
    for number, name in enumerate(NAMES):
        asked = price(f"0.{number % 3 + 1}", "EUR" if number % 2 else "USD")
        await catalog.publish(merchant, name=name, price=asked)
    await make_ties(catalog)
    listed = ask(catalog, catalog.nobody(), "ListMarketplaceServices")

    async def searched(**fields: Any) -> Any:
        return await listed(query=query, **fields)

    default = "relevance desc" if query else "published_at desc"
    await check_orders(searched, MARKETPLACE_SORT_KEYS, default)


async def test_every_order_holds_while_services_are_added(catalog: Catalog, merchant: Caller) -> None:
    names = iter(["Middle", "aaa", "ZZZ"] * 100)

    async def add() -> None:
        await catalog.create(merchant, name=next(names))

    await check_orders_while_rows_come(ask(catalog, merchant, "ListMerchantServices"), SORT_KEYS, add)


async def test_words_are_found_as_they_are_written_whatever_their_case(catalog: Catalog) -> None:
    acme, globex = await catalog.known_merchant("Acme Ltd"), await catalog.known_merchant("Globex")
    await catalog.create(acme, name="Weather 100%", description="Forecasts_daily")
    await catalog.create(acme, name="Ärzte", description=r"Paths like C:\maps")
    await catalog.create(globex, name="Weather", description="Tiles")
    found = {
        query: [
            s.name
            for s in await walk(ask(catalog, catalog.admin(), "ListServices"), query=query, order_by="name")
        ]
        for query in (
            "",
            "weather",
            "WEATHER ltd",
            "gLoBeX",
            "ärz",
            "ÄRZTE",
            "%",
            "_",
            "\\",
            "\\m",
            "100",
            "a%",
        )
    }
    assert found == {
        "": ["Weather", "Weather 100%", "Ärzte"],
        "weather": ["Weather", "Weather 100%"],
        "WEATHER ltd": ["Weather 100%"],
        "gLoBeX": ["Weather"],
        "ärz": ["Ärzte"],
        "ÄRZTE": ["Ärzte"],
        "%": ["Weather 100%"],
        "_": ["Weather 100%"],
        "\\": ["Ärzte"],
        "\\m": ["Ärzte"],
        "100": ["Weather 100%"],
        "a%": [],
    }
    own = await walk(ask(catalog, acme, "ListMerchantServices"), query="  weather   acme ")
    assert [service.name for service in own] == ["Weather 100%"]


async def test_first_and_later_pages_are_answered_from_indexes(catalog: Catalog) -> None:
    await catalog.execute(
        """
        INSERT INTO merchants (merchant_id, standing) VALUES (gen_random_uuid(), 'active');
        INSERT INTO services (service_id, merchant_id, slug, name, description, type, status, base_url,
            documentation_url, version, tags, rate_limit_per_minute, additional_info, draft_price,
            created_at, updated_at, merchant_name)
        SELECT gen_random_uuid(), merchant_id, 's-' || n, 'Service ' || n, 'words', 'api', 'draft',
            'https://a.example', '', '1', '{}', 0, '',
            '{"currency": "USD", "components": [],
              "charge_rule": {"is_client_error_free": false, "is_abandoned_free": false}}', now(),
            now() - n * interval '1 s', 'Acme'
        FROM merchants, generate_series(1, 5000) AS n;
        """
    )
    await catalog.execute("VACUUM ANALYZE")
    listed = ask(catalog, catalog.admin(), "ListServices")
    filters: dict[str, Any] = {
        "status": None,
        "merchant_id": None,
        "service_ids": None,
        "patterns": [],
        "now": catalog.clock(),
    }
    for order_by, index in (
        ("name", "services_by_name"),
        ("updated_at desc", "services_by_change"),
        ("created_at", "services_by_age"),
        ("status desc", "services_by_status_alone"),
    ):
        token = (await listed(order_by=order_by)).next_page_token
        for wanted in (PageRequest(order_by=order_by), PageRequest(token=token, order_by=order_by)):
            async with catalog.database.connection() as connection:
                plan = await Store.queries.explain_page(connection, "list_services", wanted, **filters)
            assert index in plan, plan
            assert ("Index Cond: (ROW(" in plan) == bool(wanted.token), plan
