"""Among many services everything that the marketplace is asked has its answer from indexes."""

import re
from typing import Any

import pytest
from ams.catalog.v1 import discovery_service_pb2 as pb
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.paging import PageRequest
from catalog_svc.marketplace_store import MarketplaceFilter, MarketplaceStore
from catalog_svc.testing import Catalog, fill_marketplace

RARE, FREQUENT = ["rare4321"], ["weather"]
UNSET: dict[str, Any] = {
    "tags": [],
    "categories": [],
    "price_models": [],
    "type": None,
    "merchant_id": None,
    "currency": None,
}


async def _plans(database: Database, market: dict[str, Any]) -> dict[str, str]:
    queries, now = MarketplaceStore.queries, market.pop("now")
    viewer = {"private_ids": [uuid7()]}
    plans = {}
    chosen: dict[str, Any]
    async with database.read() as store:
        connection = store.connection
        await MarketplaceStore(connection).prefer_indexes()
        for words in (RARE, FREQUENT):
            search = {**UNSET, **viewer, "words": words, "most": 2_000}
            plans[f"rank_matches {words}"] = await queries.explain_page(
                connection, "rank_matches", PageRequest(), **search, now=now
            )
            for order_by in ("published_at", "name desc", "typical_month"):
                plans[f"sort_matches {words} {order_by}"] = await queries.explain_page(
                    connection, "sort_matches", PageRequest(order_by=order_by), **search, now=now
                )
            plans[f"count_matches {words}"] = await queries.explain(connection, "count_matches", **search)
            for chosen in ({}, {"tags": ["batch7"]}, {"type": "api", "currency": "EUR"}):
                plans[f"count_facets {words} {chosen}"] = await queries.explain(
                    connection, "count_facets", **{**search, **chosen}
                )
        for order_by in ("", "name", "typical_month desc"):
            for chosen in (
                {},
                {"tags": ["batch7"]},
                {"categories": ["weather"]},
                {"merchant_id": uuid7()},
                {"price_models": ["free"]},
                {"type": "docker", "currency": "EUR"},
                {"words": FREQUENT},
            ):
                plans[f"list_marketplace {order_by} {','.join(chosen)}"] = await queries.explain_page(
                    connection,
                    "list_marketplace",
                    PageRequest(order_by=order_by),
                    **{**UNSET, **viewer, "words": None, "now": now, **chosen},
                )
        plans["list_unknown_words"] = await queries.explain(
            connection, "list_unknown_words", words=["wether"], **viewer
        )
        plans["find_similar_word"] = await queries.explain(
            connection, "find_similar_word", word="wether", **viewer
        )
        plans["list_related_services"] = await queries.explain(
            connection,
            "list_related_services",
            service_id=uuid7(),
            merchant_id=uuid7(),
            categories=["weather"],
            tags=["weather", "batch7"],
            limit=4,
            now=now,
            **viewer,
        )
    return plans


async def test_no_question_goes_through_all_services(catalog: Catalog) -> None:
    async with catalog.database.connection() as connection:
        await fill_marketplace(connection, services=5_000, merchants=50)
    plans = await _plans(catalog.database, {"now": catalog.clock()})
    for name, plan in plans.items():
        assert "Seq Scan on services" not in plan, f"{name}:\n{plan}"
    for name, index in (
        (f"rank_matches {RARE}", "services_by_words"),
        (f"sort_matches {RARE} name desc", "services_by_words"),
        (f"rank_matches {FREQUENT}", "services_by_name_words"),
        ("list_marketplace  ", "services_published"),
        ("list_marketplace name ", "services_published_by_name"),
        ("list_marketplace typical_month desc ", "services_published_by_price"),
        ("list_unknown_words", "services_by_words"),
        ("find_similar_word", "services_by_likeness"),
        ("list_related_services", "services_by_tag"),
        (f"count_facets {RARE} {{}}", "services_by_words"),
    ):
        assert index in plans[name], plans[name]
    # However few of those along an order fit, the services themselves aren't read on the way.
    for name in ("", "name", "typical_month desc"):
        for chosen in ("", "type,currency"):
            plan = plans[f"list_marketplace {name} {chosen}"]
            assert re.search("Index Only Scan (Backward )?using services_published", plan), plan
    names = {name.split(" ")[0] for name in plans}
    assert set(MarketplaceStore.queries.names()) == names | {"prefer_indexes"}, "a query without its plan"


async def test_a_query_with_less_to_look_up_finds_the_same(catalog: Catalog) -> None:
    async with catalog.database.connection() as connection:
        await fill_marketplace(connection, services=400, merchants=5)
        for words in (
            ["weather"],
            ["Translations"],
            ["currency"],
            ["currencies"],
            ["routed"],
            ["the", "maps"],
            ["refreshes"],
            ["foo_bars"],
            ["rare12"],
        ):
            differing = await connection.fetch(
                "SELECT slug FROM services"
                " WHERE (search @@ matches_query($1)) <> (search @@ words_query($1))",
                words,
            )
            assert not differing, words
        assert await connection.fetchval("SELECT matches_query(ARRAY['weather'])::text") == "'weather':*"


async def facets(catalog: Catalog, **request: Any) -> pb.MarketplaceFacets:
    return await catalog.nobody().call(
        catalog.discovery.GetMarketplaceFacets, pb.GetMarketplaceFacetsRequest(**request)
    )


async def test_figures_stop_at_a_thousand_and_say_so(catalog: Catalog) -> None:
    async with catalog.database.connection() as connection:
        await fill_marketplace(connection, services=1_200, merchants=5)
    every, some = await facets(catalog), await facets(catalog, category="data")
    assert (every.total, every.is_partial) == (1_000, True)
    # Another category is counted among all, and they are more than are counted.
    assert (some.total, some.is_partial) == (120, False)
    assert max(each.count for each in some.categories) <= 1_000


@pytest.mark.parametrize("order_by", ["", "published_at", "name", "typical_month"])
async def test_a_frequent_word_is_answered_as_a_rare_one(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, order_by: str
) -> None:
    async with catalog.database.connection() as connection:
        await fill_marketplace(connection, services=300, merchants=5)
    those = MarketplaceFilter(words=["weather"])
    shown = []
    for most in (20, 10_000):
        monkeypatch.setattr(MarketplaceStore, "most_ranked", most)
        monkeypatch.setattr(MarketplaceStore, "most_sorted", most)
        async with catalog.database.read() as store:
            market = MarketplaceStore(store.connection)
            page = await market.list_services(PageRequest(10, order_by=order_by), those, catalog.clock())
        shown.append([record.service_id for record in page.rows])
        assert len(page.rows) == 10
        assert page.next_token
    if order_by:
        assert shown[0] == shown[1]
