"""What is found in the marketplace, in which order, how it is counted and what is like it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import discovery_service_pb2 as discovery_pb
from ams.catalog.v1 import invitation_service_pb2 as invitation_pb
from ams.catalog.v1.events_pb2 import API, DOCKER
from ams.catalog.v1.metadata_pb2 import PRIVATE
from ams.catalog.v1.pricing_pb2 import FREE, PER_REQUEST, Price
from ams.identity.v1.events_pb2 import STANDING_SUSPENDED
from ams_common.errors import InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from catalog_svc.price_starts import write_due_snapshots
from catalog_svc.testing import Caller, Catalog, price


async def found(catalog: Catalog, caller: Caller | None = None, **request: Any) -> list[str]:
    return [service.name for service in (await _answer(catalog, caller, **request)).services]


async def _answer(
    catalog: Catalog, caller: Caller | None = None, **request: Any
) -> pb.ListMarketplaceServicesResponse:
    asked = pb.ListMarketplaceServicesRequest(**request)
    return await (caller or catalog.nobody()).call(catalog.stub.ListMarketplaceServices, asked)


async def facets(
    catalog: Catalog, caller: Caller | None = None, **request: Any
) -> discovery_pb.MarketplaceFacets:
    asked = discovery_pb.GetMarketplaceFacetsRequest(**request)
    return await (caller or catalog.nobody()).call(catalog.discovery.GetMarketplaceFacets, asked)


def counts(values: Any) -> dict[str, int]:
    return {each.value: each.count for each in values}


async def related(catalog: Catalog, service: pb.Service, caller: Caller | None = None) -> list[str]:
    request = discovery_pb.ListRelatedServicesRequest(service=service.slug)
    answer = await (caller or catalog.nobody()).call(catalog.discovery.ListRelatedServices, request)
    return [each.name for each in answer.services]


async def test_a_name_counts_more_than_tags_a_merchant_and_a_description(catalog: Catalog) -> None:
    plain, postal = await catalog.known_merchant("Acme"), await catalog.known_merchant("Postcode Ltd")
    await catalog.publish(plain, name="In words", description="Finds a postcode", tags=["geo"])
    await catalog.publish(postal, name="Of merchant", description="Finds places", tags=["geo"])
    await catalog.publish(plain, name="Tagged", description="Finds places", tags=["postcode"])
    await catalog.publish(plain, name="Postcode", description="Finds places", tags=["geo"])
    ranked = ["Postcode", "Tagged", "Of merchant", "In words"]
    assert await found(catalog, query="postcode") == ranked
    assert await found(catalog, query="postcode", order_by="relevance") == ranked[::-1]
    assert await found(catalog, query="postcode", order_by="published_at") == [
        "In words",
        "Of merchant",
        "Tagged",
        "Postcode",
    ]
    first = await _answer(catalog, query="postcode", page_size=3)
    later = await found(catalog, query="postcode", page_size=3, page_token=first.next_page_token)
    assert [service.name for service in first.services] + later == ranked


async def test_relevance_is_an_order_of_searches_only(catalog: Catalog) -> None:
    request = pb.ListMarketplaceServicesRequest(order_by="relevance")
    error = await catalog.nobody().error(catalog.stub.ListMarketplaceServices, request)
    assert isinstance(error, InvalidArgumentError)
    assert error.code == "order_by_invalid"


async def test_a_search_narrows_with_every_letter(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    await catalog.publish(merchant, name="Weather")
    await catalog.publish(merchant, name="Webhooks", description="Calls you back", tags=["events"])
    typed = {word: sorted(await found(catalog, query=word)) for word in ("we", "wea", "webh", "webhooks")}
    assert typed == {
        "we": ["Weather", "Webhooks"],
        "wea": ["Weather"],
        "webh": ["Webhooks"],
        "webhooks": ["Webhooks"],
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("wether", "weather"),
        ("wheather", "weather"),
        ("Paymnets", "payments"),
        ("geocodng berlin", "geocoding berlin"),
        ("acmme weather", "acme weather"),
    ],
)
async def test_a_mistyped_word_finds_what_it_is_like_and_says_so(
    catalog: Catalog, typed: str, meant: str
) -> None:
    merchant = await catalog.known_merchant("Acme")
    await catalog.publish(merchant, name="Weather", tags=["climate"])
    await catalog.publish(merchant, name="Payments", description="Cards", tags=["money"])
    await catalog.publish(merchant, name="Berlin streets", description="Lists", tags=["geocoding"])
    mistyped, right = await _answer(catalog, query=typed), await _answer(catalog, query=meant)
    assert mistyped.corrected_query == meant
    assert right.corrected_query == ""
    assert right.services
    assert mistyped.services == right.services
    assert await facets(catalog, query=typed) == await facets(catalog, query=meant)


async def test_words_that_are_known_and_words_like_nothing_are_not_corrected(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant("Acme")
    await catalog.publish(merchant, name="Weather", description="Whether it rains", tags=["sky"])
    for query in ("whether", "xylophone", "wea", "sk", "whether xylophone"):
        assert (await _answer(catalog, query=query)).corrected_query == "", query
    assert await found(catalog, query="whether") == ["Weather"]
    assert await found(catalog, query="xylophone") == []


async def _market(catalog: Catalog) -> tuple[Caller, Caller]:
    acme, globex = await catalog.known_merchant("Acme"), await catalog.known_merchant("Globex")
    await catalog.publish(
        acme, name="Weather", categories=["weather", "data"], tags=["geo", "sky"], price=price("0.01")
    )
    await catalog.publish(acme, name="Maps", categories=["location"], tags=["geo"], price=price("0.002"))
    await catalog.publish(
        globex, name="Tides", categories=["weather"], tags=["sea"], price=price("0.005", "EUR")
    )
    await catalog.publish(
        globex,
        name="Solver",
        type=DOCKER,
        base_url="",
        categories=["data"],
        tags=["maths"],
        price=Price(currency_code="EUR"),
    )
    return acme, globex


async def test_each_facet_counts_what_the_words_and_the_other_filters_leave(catalog: Catalog) -> None:
    acme, globex = await _market(catalog)
    everything = await facets(catalog)
    assert (everything.total, everything.is_partial) == (4, False)
    assert counts(everything.types) == {"API": 3, "DOCKER": 1}
    assert counts(everything.categories) == {"weather": 2, "data": 2, "location": 1}
    assert counts(everything.tags) == {"geo": 2, "sky": 1, "sea": 1, "maths": 1}
    assert counts(everything.price_models) == {"PER_REQUEST": 3, "FREE": 1}
    assert counts(everything.merchants) == {str(acme.user_id): 2, str(globex.user_id): 2}
    assert counts(everything.currencies) == {"USD": 2, "EUR": 2}
    assert [each.label for each in everything.categories][:2] == ["Data", "Weather"]
    assert {each.label for each in everything.merchants} == {"Acme", "Globex"}

    weather = await facets(catalog, category="weather")
    assert weather.total == 2
    # What could be chosen in place of it is counted as if it weren't.
    assert counts(weather.categories) == {"weather": 2, "data": 2, "location": 1}
    assert counts(weather.types) == {"API": 2}
    assert counts(weather.merchants) == {str(acme.user_id): 1, str(globex.user_id): 1}

    both = await facets(catalog, category="weather", merchant_id=str(globex.user_id))
    assert (both.total, counts(both.categories)) == (1, {"weather": 1, "data": 1})
    searched = await facets(catalog, query="globex")
    assert (searched.total, counts(searched.currencies)) == (2, {"EUR": 2})


async def test_the_list_shows_what_the_facets_count(catalog: Catalog) -> None:
    acme, _ = await _market(catalog)
    for request in (
        {},
        {"type": API},
        {"tag": "geo"},
        {"category": "data", "type": DOCKER},
        {"price_model": FREE},
        {"price_model": PER_REQUEST, "currency_code": "EUR"},
        {"merchant_id": str(acme.user_id), "query": "sky"},
        {"query": "nothing like it"},
        {"tag": "no-such-tag"},
    ):
        assert (await facets(catalog, **request)).total == len(await found(catalog, **request)), request


async def test_a_typical_month_is_rated_as_usage_is_and_sorts_within_its_currency(catalog: Catalog) -> None:
    await _market(catalog)
    answer = await _answer(catalog, order_by="typical_month")
    assert [
        (each.name, each.typical_month.currency_code, to_decimal(each.typical_month))
        for each in answer.services
    ] == [
        ("Solver", "EUR", Decimal(0)),
        ("Tides", "EUR", Decimal(50)),
        ("Maps", "USD", Decimal(20)),
        ("Weather", "USD", Decimal(100)),
    ]
    in_dollars = await found(catalog, order_by="typical_month desc", currency_code="USD")
    assert in_dollars == ["Weather", "Maps"]
    seen: list[str] = []
    token = ""
    while True:
        page = await _answer(catalog, order_by="typical_month", page_size=1, page_token=token)
        seen += [each.name for each in page.services]
        if not (token := page.next_page_token):
            break
    assert seen == ["Solver", "Tides", "Maps", "Weather"]


async def test_a_price_that_starts_moves_its_service(catalog: Catalog) -> None:
    acme, _ = await _market(catalog)
    [maps] = (await _answer(catalog, query="maps")).services
    await catalog.schedule(acme, maps.service_id, "0.5", days=1)
    assert await found(catalog, order_by="typical_month", currency_code="USD") == ["Maps", "Weather"]
    catalog.clock.advance(timedelta(days=2))
    await write_due_snapshots(catalog.database, catalog.clock)
    assert await found(catalog, order_by="typical_month", currency_code="USD") == ["Weather", "Maps"]
    [maps] = (await _answer(catalog, query="maps")).services
    assert to_decimal(maps.typical_month) == 5000


async def test_services_that_share_most_are_related_the_most_alike_first(catalog: Catalog) -> None:
    acme, globex = await catalog.known_merchant("Acme"), await catalog.known_merchant("Globex")
    service = await catalog.publish(acme, name="Weather", categories=["weather"], tags=["sky", "rain"])
    for merchant, name, categories, tags in (
        (globex, "Nothing", ["finance"], ["money"]),
        (acme, "Same merchant", ["finance"], ["money"]),
        (globex, "A tag", ["finance"], ["sky"]),
        (globex, "Category", ["weather"], ["money"]),
        (globex, "Both", ["weather"], ["sky", "rain"]),
        (globex, "Most of it", ["weather"], ["rain"]),
    ):
        await catalog.publish(merchant, name=name, categories=categories, tags=tags)
    assert await related(catalog, service) == ["Both", "Most of it", "Category", "A tag"]
    alone = await catalog.publish(
        await catalog.known_merchant("Initech"), name="Alone", categories=[], tags=["alone"]
    )
    assert await related(catalog, alone) == []


async def test_a_private_service_shows_nowhere_but_to_who_was_invited(catalog: Catalog) -> None:
    merchant, other = await catalog.known_merchant("Secretive"), await catalog.known_merchant("Acme")
    private = await catalog.publish(
        merchant, name="Zeppelin", visibility=PRIVATE, categories=["transport"], tags=["airship"]
    )
    public = await catalog.publish(other, name="Trains", categories=["transport"], tags=["airship"])
    request = invitation_pb.CreateInvitationRequest(
        service_id=private.service_id, note="Example Ltd.", max_uses=1, valid_days=7
    )
    made = await merchant.call(catalog.invitations.CreateInvitation, request)
    guest = catalog.consumer()
    await guest.call(
        catalog.invitations.AcceptInvitation, invitation_pb.AcceptInvitationRequest(token=made.token)
    )
    for outsider in (catalog.nobody(), catalog.consumer(), other):
        for query in ("zeppelin", "zepelin", "secretive", "secretve"):
            answer = await _answer(catalog, outsider, query=query)
            assert (list(answer.services), answer.corrected_query) == ([], ""), query
            assert (await facets(catalog, outsider, query=query)).total == 0
        everything = await facets(catalog, outsider)
        assert everything.total == 1
        assert counts(everything.tags) == {"airship": 1}
        assert counts(everything.merchants) == {str(other.user_id): 1}
        assert await found(catalog, outsider, order_by="typical_month") == ["Trains"]
        assert await related(catalog, public, outsider) == []
    hidden = discovery_pb.ListRelatedServicesRequest(service=private.slug)
    error = await catalog.nobody().error(catalog.discovery.ListRelatedServices, hidden)
    assert isinstance(error, NotFoundError)
    assert await found(catalog, guest, query="zepelin") == ["Zeppelin"]
    assert (await facets(catalog, guest)).total == 2
    assert await related(catalog, public, guest) == ["Zeppelin"]
    assert await related(catalog, private, guest) == ["Trains"]


async def test_a_suspended_merchants_services_are_neither_counted_nor_related(catalog: Catalog) -> None:
    _, globex = await _market(catalog)
    [maps] = (await _answer(catalog, query="maps")).services
    await catalog.tell_merchant(globex, "Globex", STANDING_SUSPENDED, version=1)
    everything = await facets(catalog)
    assert (everything.total, counts(everything.currencies)) == (2, {"USD": 2})
    assert (await _answer(catalog, query="globx")).corrected_query == ""
    request = discovery_pb.ListRelatedServicesRequest(service=maps.service_id)
    answer = await catalog.nobody().call(catalog.discovery.ListRelatedServices, request)
    assert [each.name for each in answer.services] == ["Weather"]


async def test_there_are_no_relations_of_what_is_not_there(catalog: Catalog) -> None:
    for service in (str(uuid7()), "none", "not an id"):
        request = discovery_pb.ListRelatedServicesRequest(service=service)
        error = await catalog.nobody().error(catalog.discovery.ListRelatedServices, request)
        assert isinstance(error, NotFoundError)


async def test_words_of_any_kind_are_only_words(catalog: Catalog) -> None:
    await _market(catalog)
    for query in ("'", "a' | b:*", "\\", "%%%%", "____", "!!!!", "漢字漢字漢字", "é" * 100, "a " * 50):
        answer = await _answer(catalog, query=query)
        assert (await facets(catalog, query=query)).total == len(answer.services), query
