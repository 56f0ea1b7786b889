"""The metadata of a service (FR2-MERCH-01, FR2-MERCH-02): given, shown, checked and obeyed."""

import json
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import DOCKER
from ams.catalog.v1.metadata_pb2 import (
    API_CONTAINER,
    API_KEY_ONLY,
    BATCH_PROCESSOR,
    OAUTH2,
    PUBLIC,
    RuntimeParameter,
    ServiceLevels,
    SupportContact,
    TracingSettings,
)
from ams.catalog.v1.pricing_pb2 import (
    MEGABYTES,
    REQUEST_MEGABYTES,
    RESPONSE_MEGABYTES,
    Meter,
    PerUnit,
    Price,
    PriceComponent,
)
from ams_common.categories import CATEGORIES
from ams_common.errors import InvalidArgumentError
from ams_common.money import to_money
from catalog_svc.testing import Catalog, create_request, price
from google.protobuf.field_mask_pb2 import FieldMask

OF_ANY: dict[str, Any] = {
    "authentication_method": OAUTH2,
    "formats": ["json", "geojson"],
    "service_levels": ServiceLevels(availability_ppm=999_500, latency_p95_ms=250),
    "support_contact": SupportContact(email="help@example.com", url="https://example.com/help"),
    "categories": ["weather", "data"],
}
PARAMETERS = [
    RuntimeParameter(name="AMS_API_KEY", description="Your key", is_required=True, is_secret=True),
    RuntimeParameter(name="LOG_LEVEL", default_value="info"),
]


async def test_all_of_it_is_kept_and_shown_to_everybody(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant, **OF_ANY, tracing=TracingSettings(skips_response_size=True))
    request = pb.GetMarketplaceServiceRequest(service=service.slug)
    shown = await catalog.nobody().call(catalog.stub.GetMarketplaceService, request)
    for each in (service, shown):
        for field, value in OF_ANY.items():
            assert getattr(each, field) == value, field
        assert each.tracing == TracingSettings(skips_response_size=True)
        assert each.visibility == PUBLIC


async def test_without_any_a_service_says_what_holds_by_itself(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    api = await catalog.create(merchant)
    image = await catalog.create(merchant, type=DOCKER, base_url="")
    assert (api.authentication_method, api.visibility, api.image_type) == (API_KEY_ONLY, PUBLIC, 0)
    assert image.image_type == API_CONTAINER


async def test_an_image_has_a_type_and_parameters(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    fields: dict[str, Any] = {"image_type": BATCH_PROCESSOR, "runtime_parameters": PARAMETERS}
    service = await catalog.publish(merchant, type=DOCKER, base_url="", **fields)
    assert (service.image_type, list(service.runtime_parameters)) == (BATCH_PROCESSOR, PARAMETERS)
    request = pb.UpdateServiceRequest(
        service_id=service.service_id, update_mask=FieldMask(paths=["runtime_parameters"])
    )
    changed = await merchant.call(catalog.stub.UpdateService, request)
    [change] = changed.revision.changes
    assert change.before == "AMS_API_KEY (required, secret): Your key\nLOG_LEVEL = info"
    assert (change.field, change.after) == ("runtime_parameters", "")


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        ({"categories": ["weather", "sorcery"]}, "category_unknown", "categories[1]"),
        ({"categories": ["ai", "data", "text", "media"]}, "invalid_argument", "categories"),
        ({"formats": ["JSON"]}, "invalid_argument", "formats[0]"),
        ({"service_levels": ServiceLevels(availability_ppm=1_000_001)}, "invalid_argument",
         "serviceLevels.availabilityPpm"),
        ({"service_levels": ServiceLevels(latency_p95_ms=-1)}, "invalid_argument",
         "serviceLevels.latencyP95Ms"),
        ({"support_contact": SupportContact(url="javascript:alert(1)")}, "invalid_argument",
         "supportContact.url"),
        ({"image_type": BATCH_PROCESSOR}, "metadata_not_for_apis", "imageType"),
        ({"runtime_parameters": PARAMETERS}, "metadata_not_for_apis", "runtimeParameters"),
        ({"type": DOCKER, "base_url": "", "tracing": TracingSettings(skips_request_size=True)},
         "metadata_not_for_images", "tracing"),
        ({"runtime_parameters": [RuntimeParameter(name="1X")]}, "runtime_parameter_invalid",
         "runtimeParameters[0].name"),
        ({"runtime_parameters": [RuntimeParameter(name="X"), RuntimeParameter(name="X")]},
         "runtime_parameter_invalid", "runtimeParameters[1].name"),
        ({"runtime_parameters": [RuntimeParameter(name="X", default_value="1", is_required=True)]},
         "runtime_parameter_invalid", "runtimeParameters[0].defaultValue"),
        ({"runtime_parameters": [RuntimeParameter(name="X", default_value="s3cret", is_secret=True)]},
         "runtime_parameter_invalid", "runtimeParameters[0].defaultValue"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_its_field(
    catalog: Catalog, fields: dict[str, Any], code: str, where: str
) -> None:
    merchant = await catalog.known_merchant()
    before = await catalog.state()
    error = await merchant.error(catalog.stub.CreateService, create_request(**fields))
    assert isinstance(error, InvalidArgumentError)
    assert (error.code, error.violations[0].field) == (code, where)
    assert await catalog.state() == before


async def test_the_list_of_categories_is_published_and_finds_services(catalog: Catalog) -> None:
    answer = await catalog.nobody().call(catalog.stub.ListCategories, pb.ListCategoriesRequest())
    assert [each.slug for each in answer.categories] == list(CATEGORIES)
    merchant = await catalog.known_merchant()
    await catalog.publish(merchant, name="Both", categories=["weather", "data"])
    await catalog.publish(merchant, name="One", categories=["data"])
    await catalog.publish(merchant, name="None")
    found = {}
    for category in ("weather", "data", "ai"):
        for query in ("", "forecasting"):
            request = pb.ListMarketplaceServicesRequest(category=category, query=query, order_by="name")
            listed = await catalog.nobody().call(catalog.stub.ListMarketplaceServices, request)
            found[category, query] = [each.name for each in listed.services]
    assert found == {
        **{("weather", query): ["Both"] for query in ("", "forecasting")},
        **{("data", query): ["Both", "One"] for query in ("", "forecasting")},
        **{("ai", query): [] for query in ("", "forecasting")},
    }


def _metered(meter: Meter.ValueType) -> Price:
    unit = PerUnit(amount=to_money(Decimal("0.01"), "USD"))
    return Price(currency_code="USD", components=[PriceComponent(meter=meter, per_unit=unit)])


NEITHER = TracingSettings(skips_request_size=True, skips_response_size=True)


@pytest.mark.parametrize(
    ("asked", "in_force"),
    [
        (price(), NEITHER),
        (_metered(REQUEST_MEGABYTES), TracingSettings(skips_response_size=True)),
        (_metered(RESPONSE_MEGABYTES), TracingSettings(skips_request_size=True)),
        (_metered(MEGABYTES), TracingSettings()),
    ],
)
async def test_what_the_price_counts_is_traced_whatever_was_chosen(
    catalog: Catalog, asked: Price, in_force: TracingSettings
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant, price=asked, tracing=NEITHER)
    assert service.tracing == NEITHER
    [snapshot] = await catalog.snapshots(service.slug)
    assert snapshot.tracing == in_force


async def test_an_announced_price_by_size_is_traced_for_from_its_announcement_on(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant, tracing=NEITHER)
    request = pb.SchedulePriceRequest(
        service_id=service.service_id, price=_metered(MEGABYTES), starts_on=catalog.day(1)
    )
    await merchant.call(catalog.stub.SchedulePrice, request)
    snapshots = await catalog.snapshots(service.slug)
    assert [snapshot.tracing for snapshot in snapshots] == [NEITHER, TracingSettings()]


async def test_the_database_keeps_the_bounds_too(catalog: Catalog) -> None:
    await catalog.create(catalog.merchant())
    for change in (
        "authentication_method = 'magic'",
        "availability_ppm = 1000001",
        "latency_p95_ms = -1",
        "visibility = 'secret'",
        "image_type = 'worker'",
        "limit_scope = 'nobody'",
        "categories = '{a,b,c,d}'",
        "runtime_parameters = '[{}]'",
        "suspension_reason = 'none'",
        "credential_kind = 'basic'",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await catalog.execute(f"UPDATE services SET {change}")
    [row] = await catalog.rows("SELECT runtime_parameters FROM services")
    assert json.loads(row["runtime_parameters"]) == []
