"""CreateService."""

import asyncio

from ams.catalog.v1.events_pb2 import ACTIVE, DOCKER, DRAFT
from ams.catalog.v1.pricing_pb2 import Price
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from catalog_svc.testing import World, create_request, price


async def test_a_new_service_is_a_draft_of_the_calling_merchant_with_all_that_was_sent(world: World) -> None:
    merchant = await world.known_merchant("Acme Ltd")
    service = await world.create(merchant)
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
    world: World,
) -> None:
    merchant = world.merchant()
    service = await world.create(merchant)
    assert await world.audits() == [(str(merchant.user_id), "service.create", "service", service.service_id)]
    (event,) = await world.events()
    assert event.service_changed.service_id == service.service_id
    assert event.service_changed.status == DRAFT
    assert await world.snapshots(service.service_id) == []


async def test_the_same_idempotency_key_creates_once(world: World) -> None:
    merchant = world.merchant()
    first, second = await asyncio.gather(
        world.create(merchant, idempotency_key="k1"), world.create(merchant, idempotency_key="k1")
    )
    assert first == second
    assert len(await world.audits()) == 1


async def test_an_idempotency_key_with_another_request_is_refused(world: World) -> None:
    merchant = world.merchant()
    await world.create(merchant, idempotency_key="k1")
    refusal = await merchant.refusal(
        world.stub.CreateService, create_request(idempotency_key="k1", name="Other")
    )
    assert refusal.code == "idempotency_key_reused"


async def test_a_taken_slug_gets_a_short_suffix_even_when_all_come_at_once(world: World) -> None:
    services = await asyncio.gather(*(world.create(world.merchant()) for _ in range(6)))
    slugs = {service.slug for service in services}
    assert len(slugs) == 6
    assert "weather" in slugs
    assert all(slug.startswith("weather") for slug in slugs)


async def test_types_of_a_later_release_are_refused_with_a_reason(world: World) -> None:
    merchant = world.merchant()
    before = await world.state()
    refusal = await merchant.refusal(world.stub.CreateService, create_request(type=99))
    assert refusal.code in ("service_type_not_available", "invalid_argument")
    assert await world.state() == before


async def test_a_docker_service_goes_to_the_marketplace_without_a_base_url(world: World) -> None:
    service = await world.publish(await world.known_merchant(), type=DOCKER, base_url="")
    assert (service.type, service.status, service.base_url) == (DOCKER, ACTIVE, "")
    (snapshot,) = await world.snapshots(service.service_id)
    assert (snapshot.type, snapshot.base_url) == (DOCKER, "")


async def test_a_docker_service_takes_no_base_url(world: World) -> None:
    merchant = world.merchant()
    before = await world.state()
    refusal = await merchant.refusal(world.stub.CreateService, create_request(type=DOCKER))
    assert isinstance(refusal, InvalidArgumentError)
    assert (refusal.code, [v.field for v in refusal.violations]) == ("base_url_not_for_images", ["baseUrl"])
    assert await world.state() == before


async def test_prices_out_of_bounds_or_without_a_model_are_refused(world: World) -> None:
    for wrong in (price("1", "XXX"), price("-0.01"), price("1000000.01"), Price()):
        refusal = await world.merchant().refusal(world.stub.CreateService, create_request(price=wrong))
        assert isinstance(refusal, InvalidArgumentError), wrong
        assert refusal.code == "price_invalid"


async def test_prices_are_kept_to_the_nano(world: World) -> None:
    for amount in ("0", "0.000000001", "1000000"):
        service = await world.create(world.merchant(), price=price(amount))
        assert service.price == price(amount)


async def test_base_urls_that_must_not_be_called_are_refused(world: World) -> None:
    for base_url, code in (
        ("http://127.0.0.1:8000", "base_url_private"),
        ("http://localhost/x", "base_url_private"),
        ("https://api.example.com/?key=1", "base_url_invalid"),
        ("ftp://api.example.com", "invalid_argument"),
    ):
        refusal = await world.merchant().refusal(world.stub.CreateService, create_request(base_url=base_url))
        assert isinstance(refusal, InvalidArgumentError), base_url
        assert refusal.code == code


async def test_a_service_of_a_merchant_not_heard_of_yet_can_be_created(world: World) -> None:
    service = await world.create(world.merchant())
    assert service.merchant_name == ""


async def test_a_tag_given_twice_is_kept_once(world: World) -> None:
    service = await world.create(world.merchant(), tags=["b", "a", "b"])
    assert service.tags == ["b", "a"]


async def test_a_name_that_looks_like_an_id_gives_a_slug_that_does_not(world: World) -> None:
    service = await world.create(world.merchant(), name=str(uuid7()))
    assert service.slug.startswith("service-")
