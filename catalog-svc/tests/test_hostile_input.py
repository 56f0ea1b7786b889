"""Whatever is sent, the answer is a error with a code, never INTERNAL."""

import base64
import json
from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.pricing_pb2 import REQUESTS, PerUnit, Price, PriceComponent
from ams_common.errors import InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from catalog_svc.testing import Catalog, create_request
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.money_pb2 import Money

MEGABYTE = "x" * 1_000_000


def _money(**fields: Any) -> Price:
    unit = PerUnit(amount=Money(**fields))
    return Price(
        currency_code=fields.get("currency_code", ""),
        components=[PriceComponent(meter=REQUESTS, per_unit=unit)],
    )


def _token(order_by: str, moment: str) -> str:
    text = json.dumps([order_by, moment, str(uuid7())])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_long_strings_and_control_characters_are_refused_in_every_text_field(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    before = await catalog.state()
    for field in pb.CreateServiceRequest.DESCRIPTOR.fields:
        if field.type != field.TYPE_STRING:
            continue
        for value in (MEGABYTE, "a\x00b"):
            error = await merchant.error(
                catalog.stub.CreateService,
                create_request(**{field.name: [value] if field.name == "tags" else value}),
            )
            assert isinstance(error, InvalidArgumentError), field.name
            assert len(error.message) < 300
    assert await catalog.state() == before


async def test_no_price_that_is_not_one_is_taken(catalog: Catalog) -> None:
    for price in (
        _money(currency_code="USD", units=2**63 - 1),
        _money(currency_code="USD", units=-(2**63)),
        _money(currency_code="USD", nanos=2**31 - 1),
        _money(currency_code="USD", units=1, nanos=-1),
        _money(currency_code="usd", units=1),
        _money(currency_code=MEGABYTE, units=1),
        _money(units=1),
        Price(currency_code="USD", components=[PriceComponent(meter=REQUESTS, per_unit=PerUnit())]),
        Price(currency_code="USD", components=[PriceComponent(meter=REQUESTS)] * 1000),
        Price(currency_code="USD", components=[PriceComponent(meter=99)]),  # type: ignore[arg-type]
    ):
        error = await catalog.merchant().error(catalog.stub.CreateService, create_request(price=price))
        assert isinstance(error, InvalidArgumentError)
        assert len(error.message) < 300


async def test_unknown_enum_values_are_refused(catalog: Catalog) -> None:
    error = await catalog.merchant().error(catalog.stub.CreateService, create_request(type=77))
    assert isinstance(error, InvalidArgumentError)


async def test_a_made_up_page_token_is_refused(catalog: Catalog) -> None:
    moments = ("yesterday", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")
    for token in ("x", "é", "W10", *(_token("created_at desc", moment) for moment in moments), "A" * 1001):
        request = pb.ListServicesRequest(page_token=token)
        error = await catalog.admin().error(catalog.stub.ListServices, request)
        assert isinstance(error, InvalidArgumentError), token
    for token in ("x", "é", "W10", *(_token("published_at desc", moment) for moment in moments), "A" * 1001):
        searched = pb.ListMarketplaceServicesRequest(page_token=token)
        error = await catalog.nobody().error(catalog.stub.ListMarketplaceServices, searched)
        assert isinstance(error, InvalidArgumentError), token


async def test_a_name_that_no_service_can_have_is_not_found_or_refused(catalog: Catalog) -> None:
    for name in ("..", "a/b", "%00", "ｗｅａｔｈｅｒ", str(uuid7()).upper(), MEGABYTE, "a\x00b", ""):
        error = await catalog.nobody().error(
            catalog.stub.GetMarketplaceService, pb.GetMarketplaceServiceRequest(service=name)
        )
        assert isinstance(error, (InvalidArgumentError, NotFoundError)), name


async def test_a_mask_of_many_paths_is_refused_shortly(catalog: Catalog) -> None:
    request = pb.UpdateServiceRequest(
        service_id=str(uuid7()), update_mask=FieldMask(paths=[f"f{n}" for n in range(100_000)])
    )
    error = await catalog.merchant().error(catalog.stub.UpdateService, request)
    assert error.code == "update_mask_invalid"
    assert len(error.message) < 300
