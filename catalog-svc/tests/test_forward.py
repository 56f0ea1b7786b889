"""How a service's calls are forwarded: set by its merchant, seen by consumers, followed by the gateway."""

from typing import Any

import asyncpg
import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import DOCKER
from ams.catalog.v1.forwarding_pb2 import PER_CONSUMER, PER_KEY, ForwardingSettings
from ams_common.errors import InvalidArgumentError
from catalog_svc.testing import Caller, Catalog, create_request
from google.protobuf.field_mask_pb2 import FieldMask

ALL = ForwardingSettings(
    first_byte_timeout_s=300,
    idle_timeout_s=3600,
    total_timeout_s=86400,
    max_connections=10000,
    passes_cookies=True,
    cors_origins=["https://app.example.com", "http://localhost:3000"],
    allows_websockets=True,
    shows_costs=True,
    quota_per_day=1_000_000_000,
    quota_per_month=2_000_000_000,
    limit_scope=PER_KEY,
)
NONE = ForwardingSettings(limit_scope=PER_CONSUMER)


async def _change(catalog: Catalog, merchant: Caller, service_id: str, forwarding: ForwardingSettings) -> Any:
    mask = FieldMask(paths=["forwarding"])
    request = pb.UpdateServiceRequest(service_id=service_id, update_mask=mask, forwarding=forwarding)
    return await merchant.call(catalog.stub.UpdateService, request)


async def test_settings_are_kept_as_they_were_made_with_the_service(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant, forwarding=ALL)
    assert service.forwarding == ALL
    read = await merchant.call(catalog.stub.GetService, pb.GetServiceRequest(service_id=service.service_id))
    assert read.forwarding == ALL


async def test_a_service_without_settings_has_the_platforms_defaults(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant())
    assert service.forwarding == NONE


async def test_how_calls_of_an_active_service_are_passed_on_changes_at_once_but_its_limits_wait(
    catalog: Catalog,
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    changed = await _change(catalog, merchant, service.service_id, ALL)
    at_once = ForwardingSettings()
    at_once.CopyFrom(ALL)
    at_once.quota_per_day = at_once.quota_per_month = 0
    at_once.limit_scope = PER_CONSUMER
    assert [s.forwarding for s in await catalog.snapshots(service.slug)] == [NONE, at_once]
    request = pb.GetMarketplaceServiceRequest(service=service.slug)
    shown = await catalog.nobody().call(catalog.stub.GetMarketplaceService, request)
    assert shown.forwarding == at_once
    assert [(each.field, each.before, each.after) for each in changed.revision.changes] == [
        ("forwarding.limit_scope", "per_consumer", "per_key"),
        ("forwarding.quota_per_day", "0", "1000000000"),
        ("forwarding.quota_per_month", "0", "2000000000"),
    ]


async def test_settings_are_replaced_as_a_whole(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant, forwarding=ALL)
    only = ForwardingSettings(quota_per_day=5, limit_scope=PER_CONSUMER)
    assert (await _change(catalog, merchant, service.service_id, only)).forwarding == only
    changed = await _change(catalog, merchant, service.service_id, ForwardingSettings())
    assert changed.forwarding == NONE


async def test_the_gateway_is_told_what_a_call_costs(catalog: Catalog) -> None:
    service = await catalog.publish(await catalog.known_merchant())
    [snapshot] = await catalog.snapshots(service.slug)
    assert snapshot.price == service.price


@pytest.mark.parametrize(
    "field",
    [
        {"first_byte_timeout_s": 301},
        {"first_byte_timeout_s": -1},
        {"idle_timeout_s": 3601},
        {"total_timeout_s": 86401},
        {"max_connections": 10001},
        {"quota_per_day": 1_000_000_001},
        {"quota_per_month": 2_000_000_001},
        {"cors_origins": [f"https://{n}.example" for n in range(21)]},
        {"cors_origins": ["https://" + "x" * 193]},
    ],
)
async def test_a_setting_out_of_bounds_is_refused(catalog: Catalog, field: dict[str, Any]) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    before = await catalog.state()
    request = pb.UpdateServiceRequest(
        service_id=service.service_id,
        update_mask=FieldMask(paths=["forwarding"]),
        forwarding=ForwardingSettings(**field),
    )
    error = await merchant.error(catalog.stub.UpdateService, request)
    assert isinstance(error, InvalidArgumentError)
    assert error.violations[0].field.startswith("forwarding.")
    assert await catalog.state() == before


@pytest.mark.parametrize(
    ("origins", "field"),
    [
        (["https://good.example", "https://bad.example/path"], "forwarding.corsOrigins[1]"),
        (["*", "https://good.example"], "forwarding.corsOrigins"),
    ],
)
async def test_an_origin_that_would_never_be_met_is_refused_by_its_place(
    catalog: Catalog, origins: list[str], field: str
) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    settings = ForwardingSettings(cors_origins=origins)
    change = pb.UpdateServiceRequest(
        service_id=service.service_id, update_mask=FieldMask(paths=["forwarding"]), forwarding=settings
    )
    for error in (
        await merchant.error(catalog.stub.UpdateService, change),
        await merchant.error(catalog.stub.CreateService, create_request(forwarding=settings)),
    ):
        assert (error.code, [v.field for v in error.violations]) == ("cors_origin_invalid", [field])


async def test_an_image_has_no_forwarding(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant, type=DOCKER, base_url="")
    request = pb.UpdateServiceRequest(
        service_id=service.service_id, update_mask=FieldMask(paths=["forwarding"]), forwarding=ALL
    )
    error = await merchant.error(catalog.stub.UpdateService, request)
    assert error.code == "forwarding_not_for_images"
    assert (await _change(catalog, merchant, service.service_id, ForwardingSettings())).description


async def test_the_database_keeps_the_bounds_too(catalog: Catalog) -> None:
    await catalog.create(catalog.merchant())
    for change in (
        "first_byte_timeout_s = 301",
        "idle_timeout_s = -1",
        "total_timeout_s = 86401",
        "max_connections = 10001",
        "quota_per_day = -1",
        "quota_per_month = 2000000001",
        "cors_origins = '{https://a.example/path}'",
        "cors_origins = '{*,https://a.example}'",
        "cors_origins = '{NULL}'",
        "credential_header_name = 'x-key'",
        "signing_key_id = gen_random_uuid()",
        "previous_signing_key_id = gen_random_uuid(), previous_signing_key_created_at = now()",
        "next_signing_key_starts_at = now()",
        "next_signing_key_id = gen_random_uuid(), sealed_next_signing_key = '\\x00',"
        " next_signing_key_created_at = now(), next_signing_key_starts_at = now()",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await catalog.execute(f"UPDATE services SET {change}")


async def test_where_an_api_lies_is_told_to_its_merchant_and_the_admins_only(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    secret_place = "https://upstream-7c1f.example.com/v1"
    service = await catalog.publish(merchant, base_url=secret_place)
    request = pb.GetMarketplaceServiceRequest(service=service.slug)
    listing = pb.ListMarketplaceServicesRequest()
    for caller in (catalog.nobody(), merchant, catalog.admin()):
        shown = await caller.call(catalog.stub.GetMarketplaceService, request)
        listed = await caller.call(catalog.stub.ListMarketplaceServices, listing)
        assert b"upstream-7c1f" not in shown.SerializeToString() + listed.SerializeToString()
    for caller in (merchant, catalog.admin()):
        own = await caller.call(catalog.stub.GetService, pb.GetServiceRequest(service_id=service.service_id))
        assert own.base_url == secret_place
    assert all(b"upstream-7c1f" not in event.SerializeToString() for event in await catalog.events())
