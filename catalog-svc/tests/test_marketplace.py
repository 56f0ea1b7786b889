"""ListMarketplaceServices and GetMarketplaceService: what everybody sees."""

from typing import Any

import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import API, DOCKER
from ams.identity.v1.events_pb2 import STANDING_SUSPENDED
from ams_common.errors import NotFoundError
from ams_common.ids import uuid7
from ams_common.paging import PageRequest
from catalog_svc.store import Store
from catalog_svc.testing import Catalog


async def _names(catalog: Catalog, **request: Any) -> list[str]:
    answer = await catalog.nobody().call(
        catalog.stub.ListMarketplaceServices, pb.ListMarketplaceServicesRequest(**request)
    )
    return [service.name for service in answer.services]


async def test_everybody_sees_all_metadata_of_an_active_service(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant("Acme Ltd")
    service = await catalog.publish(merchant)
    for name in (service.service_id, service.slug):
        seen = await catalog.nobody().call(
            catalog.stub.GetMarketplaceService, pb.GetMarketplaceServiceRequest(service=name)
        )
        assert seen.merchant_name == "Acme Ltd"
        assert seen.published_at == service.updated_at
        for field in pb.MarketplaceService.DESCRIPTOR.fields:
            if field.name not in ("published_at", "next_price"):
                assert getattr(seen, field.name) == getattr(service, field.name), field.name
    listed = await catalog.nobody().call(
        catalog.stub.ListMarketplaceServices, pb.ListMarketplaceServicesRequest()
    )
    assert list(listed.services) == [seen]


async def test_what_is_not_active_is_not_there(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    services = [await catalog.create(merchant), await catalog.submit(merchant)]
    assert await _names(catalog) == []
    for name in (*(s.service_id for s in services), *(s.slug for s in services), str(uuid7()), "none"):
        error = await catalog.nobody().error(
            catalog.stub.GetMarketplaceService, pb.GetMarketplaceServiceRequest(service=name)
        )
        assert isinstance(error, NotFoundError)
        assert error.code == "service_not_found"


async def test_services_of_unknown_and_suspended_merchants_are_not_there(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.publish(merchant)
    request = pb.GetMarketplaceServiceRequest(service=service.slug)
    assert await _names(catalog) == []
    await catalog.tell_merchant(merchant)
    assert await _names(catalog) == ["Weather"]
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED)
    assert await _names(catalog) == []
    assert await _names(catalog, query="weather") == []
    assert isinstance(
        await catalog.nobody().error(catalog.stub.GetMarketplaceService, request), NotFoundError
    )
    await catalog.tell_merchant(merchant)
    assert (await catalog.nobody().call(catalog.stub.GetMarketplaceService, request)).name == "Weather"


@pytest.fixture
async def market(catalog: Catalog) -> Catalog:
    """Three services of two merchants."""
    acme, globex = await catalog.known_merchant("Acme Ltd"), await catalog.known_merchant("Globex")
    await catalog.publish(acme, name="Weather", description="Forecasting for cities", tags=["geo"])
    await catalog.publish(acme, name="Payments", description="Cards and transfers", tags=["money", "pci"])
    await catalog.publish(globex, name="Maps", description="Tiles and routing", tags=["geo", "tiles"])
    return catalog


async def test_search_finds_by_name_description_and_merchant_and_by_words_of_several(market: Catalog) -> None:
    found = {
        query: await _names(market, query=query)
        for query in (
            "weather",
            "MAPS",
            "pay",
            "forecast",
            "transfer",
            "acme",
            "the acme",
            "acme weather",
            "globex weather",
            "acme cities weather ltd",
            "acm for",
            "the",
            "nothing",
            "!!!",
            "_",
        )
    }
    assert found == {
        "weather": ["Weather"],
        "MAPS": ["Maps"],
        "pay": ["Payments"],
        "forecast": ["Weather"],
        "transfer": ["Payments"],
        "acme": ["Payments", "Weather"],
        "the acme": ["Payments", "Weather"],
        "acme weather": ["Weather"],
        "globex weather": [],
        "acme cities weather ltd": ["Weather"],
        "acm for": ["Payments", "Weather"],
        "the": [],
        "nothing": [],
        "!!!": [],
        "_": [],
    }


async def test_no_query_is_anything_but_words(market: Catalog) -> None:
    for query in (
        "'",
        "a' | b:*",
        "\\",
        ":*",
        "!weather",
        "a & b",
        "<->",
        "weather')--",
        "%",
        "漢字",
        "é" * 100,
    ):
        assert await _names(market, query=query) in ([], ["Weather"]), query


async def test_a_renamed_merchant_is_found_by_its_new_name_only(market: Catalog) -> None:
    merchant = await market.known_merchant("Initech")
    await market.publish(merchant, name="Reports", description="Tables")
    await market.tell_merchant(merchant, "Umbrella")
    assert await _names(market, query="umbrella") == ["Reports"]
    assert await _names(market, query="initech") == []


async def test_filters_narrow_the_list_together(market: Catalog) -> None:
    listed = await market.nobody().call(
        market.stub.ListMarketplaceServices, pb.ListMarketplaceServicesRequest(query="weather")
    )
    acme = listed.services[0].merchant_id
    assert await _names(market) == ["Maps", "Payments", "Weather"]
    assert await _names(market, tag="geo") == ["Maps", "Weather"]
    assert await _names(market, tag="geo", merchant_id=acme) == ["Weather"]
    assert await _names(market, tag="geo", merchant_id=acme, query="routing") == []
    assert await _names(market, type=API, tag="pci") == ["Payments"]
    assert await _names(market, type=DOCKER) == []
    assert await _names(market, tag="nothing") == []


@pytest.mark.parametrize("query", ["", "weather"])
async def test_pages_have_no_duplicates_or_gaps_while_services_are_added(
    catalog: Catalog, query: str
) -> None:
    merchant = await catalog.known_merchant()
    first = [(await catalog.publish(merchant)).service_id for _ in range(5)]
    # Published at one moment: only the id tells them apart.
    await catalog.execute("UPDATE services SET published_at = now()")
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListMarketplaceServicesRequest(page_size=2, page_token=token, query=query)
        page = await catalog.nobody().call(catalog.stub.ListMarketplaceServices, request)
        seen += [service.service_id for service in page.services]
        await catalog.publish(merchant)
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(first, reverse=True)


async def test_searches_and_pages_are_answered_from_indexes(catalog: Catalog) -> None:
    await catalog.execute(
        """
        INSERT INTO merchants (merchant_id, standing) VALUES (gen_random_uuid(), 'active');
        INSERT INTO services (service_id, merchant_id, slug, name, description, type, status, base_url,
            documentation_url, version, tags, rate_limit_per_minute, additional_info, draft_price,
            created_at, updated_at, merchant_name)
        SELECT gen_random_uuid(), merchant_id, 's-' || n, 'Service number' || n, 'words', 'api', 'draft',
            'https://a.example', '', '1', '{}', 0, '',
            '{"currency": "USD", "components": [],
              "charge_rule": {"is_client_error_free": false, "is_abandoned_free": false}}',
            now(), now(), 'Acme'
        FROM merchants, generate_series(1, 5000) AS n;
        INSERT INTO price_versions (price_version_id, service_id, price, starts_at, created_at)
        SELECT gen_random_uuid(), service_id,
            '{"currency": "USD", "components": [],
              "charge_rule": {"is_client_error_free": false, "is_abandoned_free": false}}', now(), now()
        FROM services;
        UPDATE services SET status = 'active', published_at = created_at + random() * interval '1 day',
            draft_price = NULL;
        """
    )
    await catalog.execute("VACUUM ANALYZE")
    assert await _names(catalog, query="number4321") == ["Service number4321"]
    filters: dict[str, Any] = {
        "tags": [],
        "type": None,
        "merchant_id": None,
        "now": catalog.clock(),
        "categories": [],
        "private_ids": [],
    }
    for name, order_by, index, words in (
        ("search_marketplace", "", "services_by_words", {"words": ["number4321"]}),
        ("search_marketplace", "name", "services_by_words", {"words": ["number4321"]}),
        ("list_marketplace", "", "services_published", {}),
        ("list_marketplace", "name desc", "services_published_by_name", {}),
    ):
        async with catalog.database.connection() as connection:
            plan = await Store.queries.explain_page(
                connection, name, PageRequest(order_by=order_by), **filters, **words
            )
        assert index in plan, plan
