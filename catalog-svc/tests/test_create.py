"""CreateService."""

import asyncio

from ams.catalog.v1 import pricing_pb2 as pricing
from ams.catalog.v1.events_pb2 import ACTIVE, DOCKER, DRAFT
from ams.catalog.v1.pricing_pb2 import Price, PriceComponent
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from catalog_svc.testing import Catalog, create_request, price
from google.type.money_pb2 import Money


def _euros(units: int = 0, nanos: int = 0) -> Money:
    return Money(currency_code="EUR", units=units, nanos=nanos)


PER_EXECUTION = Price(
    currency_code="EUR",
    components=[
        PriceComponent(meter=pricing.EXECUTIONS, per_unit=pricing.PerUnit(amount=_euros(nanos=10_000_000)))
    ],
    charge_rule=pricing.ChargeRule(),
)
_TIERS = [
    pricing.Tier(up_to=1000, unit_amount=_euros(), flat_amount=_euros()),
    pricing.Tier(unit_amount=_euros(nanos=2_000_000), flat_amount=_euros(1)),
]
EVERYTHING = Price(
    currency_code="EUR",
    components=[
        PriceComponent(meter=pricing.REQUESTS, graduated=pricing.GraduatedTiers(tiers=_TIERS)),
        PriceComponent(meter=pricing.MEGABYTES, volume=pricing.VolumeTiers(tiers=_TIERS)),
        PriceComponent(
            meter=pricing.REQUEST_MEGABYTES, packages=pricing.Packages(size=100, amount=_euros(5))
        ),
        PriceComponent(meter=pricing.RESPONSE_MEGABYTES, per_unit=pricing.PerUnit(amount=_euros(nanos=1))),
        PriceComponent(monthly_fee=pricing.MonthlyFee(amount=_euros(9, 900_000_000))),
    ],
    charge_rule=pricing.ChargeRule(is_client_error_free=True, is_abandoned_free=True),
)
TIERED_WRONG = Price(
    currency_code="EUR",
    components=[
        PriceComponent(
            meter=pricing.REQUESTS,
            graduated=pricing.GraduatedTiers(tiers=[pricing.Tier(), pricing.Tier()]),
        )
    ],
)


async def test_a_new_service_is_a_draft_of_the_calling_merchant_with_all_that_was_sent(
    catalog: Catalog,
) -> None:
    merchant = await catalog.known_merchant("Acme Ltd")
    service = await catalog.create(merchant)
    sent = create_request()
    assert service.merchant_id == str(merchant.user_id)
    assert service.merchant_name == "Acme Ltd"
    assert service.status == DRAFT
    assert service.slug == "weather"
    for field in (
        "name",
        "description",
        "type",
        "base_url",
        "documentation_url",
        "version",
        "tags",
        "price",
        "rate_limit_per_minute",
        "additional_info",
    ):
        assert getattr(service, field) == getattr(sent, field), field


async def test_creating_is_audited_once_and_told_to_others_but_not_to_the_gateway(
    catalog: Catalog,
) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    assert await catalog.audits() == [
        (str(merchant.user_id), "service.create", "service", service.service_id)
    ]
    (event,) = await catalog.events()
    assert event.service_changed.service_id == service.service_id
    assert event.service_changed.status == DRAFT
    assert await catalog.snapshots(service.service_id) == []


async def test_the_same_idempotency_key_creates_once(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    first, second = await asyncio.gather(
        catalog.create(merchant, idempotency_key="k1"), catalog.create(merchant, idempotency_key="k1")
    )
    assert first == second
    assert len(await catalog.audits()) == 1


async def test_an_idempotency_key_with_another_request_is_refused(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    await catalog.create(merchant, idempotency_key="k1")
    error = await merchant.error(
        catalog.stub.CreateService, create_request(idempotency_key="k1", name="Other")
    )
    assert error.code == "idempotency_key_reused"


async def test_a_taken_slug_gets_a_short_suffix_even_when_all_come_at_once(catalog: Catalog) -> None:
    services = await asyncio.gather(*(catalog.create(catalog.merchant()) for _ in range(6)))
    slugs = {service.slug for service in services}
    assert len(slugs) == 6
    assert "weather" in slugs
    assert all(slug.startswith("weather") for slug in slugs)


async def test_types_of_a_later_release_are_refused_with_a_reason(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    before = await catalog.state()
    error = await merchant.error(catalog.stub.CreateService, create_request(type=99))
    assert error.code in ("service_type_not_available", "invalid_argument")
    assert await catalog.state() == before


async def test_a_docker_service_goes_to_the_marketplace_without_a_base_url(catalog: Catalog) -> None:
    service = await catalog.publish(await catalog.known_merchant(), type=DOCKER, base_url="")
    assert (service.type, service.status, service.base_url) == (DOCKER, ACTIVE, "")
    (snapshot,) = await catalog.snapshots(service.service_id)
    assert (snapshot.type, snapshot.base_url) == (DOCKER, "")


async def test_a_docker_service_takes_no_base_url(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    before = await catalog.state()
    error = await merchant.error(catalog.stub.CreateService, create_request(type=DOCKER))
    assert isinstance(error, InvalidArgumentError)
    assert (error.code, [v.field for v in error.violations]) == ("base_url_not_for_images", ["baseUrl"])
    assert await catalog.state() == before


async def test_a_price_is_refused_with_each_field_that_is_wrong_by_its_json_name(catalog: Catalog) -> None:
    for wrong, field in (
        (price("1", "XXX"), "price.currencyCode"),
        (price("-0.01"), "price.components[0].perUnit.amount"),
        (price("1000000.01"), "price.components[0].perUnit.amount"),
        (Price(currency_code="EUR", components=[PriceComponent()]), "price.components[0]"),
        (TIERED_WRONG, "price.components[0].graduated.tiers[0].upTo"),
        (PER_EXECUTION, "price.components[0].meter"),
    ):
        error = await catalog.merchant().error(catalog.stub.CreateService, create_request(price=wrong))
        assert isinstance(error, InvalidArgumentError), wrong
        assert error.code == "price_invalid"
        assert [violation.field for violation in error.violations] == [field]


async def test_every_model_and_their_sum_is_kept_as_it_was_sent(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant(), price=EVERYTHING)
    assert service.price == EVERYTHING
    image = await catalog.create(catalog.merchant(), type=DOCKER, base_url="", price=PER_EXECUTION)
    assert image.price == PER_EXECUTION


async def test_a_service_can_be_free(catalog: Catalog) -> None:
    free = Price(currency_code="JPY", charge_rule=pricing.ChargeRule())
    assert (await catalog.create(catalog.merchant(), price=free)).price == free


async def test_prices_are_kept_to_the_nano(catalog: Catalog) -> None:
    for amount in ("0", "0.000000001", "1000000"):
        service = await catalog.create(catalog.merchant(), price=price(amount))
        assert service.price == price(amount)


async def test_base_urls_that_must_not_be_called_are_refused(catalog: Catalog) -> None:
    for base_url, code in (
        ("http://127.0.0.1:8000", "base_url_private"),
        ("http://localhost/x", "base_url_private"),
        ("https://api.example.com/?key=1", "base_url_invalid"),
        ("ftp://api.example.com", "invalid_argument"),
    ):
        error = await catalog.merchant().error(catalog.stub.CreateService, create_request(base_url=base_url))
        assert isinstance(error, InvalidArgumentError), base_url
        assert error.code == code


async def test_a_service_of_a_merchant_not_heard_of_yet_can_be_created(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant())
    assert service.merchant_name == ""


async def test_a_tag_given_twice_is_kept_once(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant(), tags=["b", "a", "b"])
    assert service.tags == ["b", "a"]


async def test_a_name_that_looks_like_an_id_gives_a_slug_that_does_not(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant(), name=str(uuid7()))
    assert service.slug.startswith("service-")
