"""UpdateService."""

from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ACTIVE, DOCKER
from ams.catalog.v1.forwarding_pb2 import PER_CONSUMER, ForwardingSettings
from ams.catalog.v1.metadata_pb2 import OAUTH2, PRIVATE, ServiceLevels, SupportContact, TracingSettings
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from catalog_svc.testing import Catalog, price
from google.protobuf.field_mask_pb2 import FieldMask

OPEN: dict[str, Any] = {"forwarding": ForwardingSettings(first_byte_timeout_s=90, passes_cookies=True)}
AWAITED: dict[str, Any] = {
    "name": "New",
    "base_url": "https://new.example.com",
    "version": "2",
    "description": "New words",
    "documentation_url": "https://new.example.com/docs",
    "tags": ["new"],
    "rate_limit_per_minute": 5,
    "additional_info": "XML",
    "authentication_method": OAUTH2,
    "formats": ["json", "csv"],
    "service_levels": ServiceLevels(availability_ppm=999_500, latency_p95_ms=250),
    "support_contact": SupportContact(email="help@example.com", url="https://example.com/help"),
    "categories": ["weather", "data"],
    "visibility": PRIVATE,
    "tracing": TracingSettings(skips_request_size=True),
}
OF_IMAGES = {"image_type", "runtime_parameters"}


def _update(service_id: str, **fields: Any) -> pb.UpdateServiceRequest:
    return pb.UpdateServiceRequest(service_id=service_id, update_mask=FieldMask(paths=list(fields)), **fields)


async def test_all_fields_of_a_draft_can_be_changed_and_no_others_are(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    fields: dict[str, Any] = {**AWAITED, **OPEN, "price": price("0.5", "EUR")}
    changed = await merchant.call(catalog.stub.UpdateService, _update(service.service_id, **fields))
    expected = pb.Service()
    expected.CopyFrom(service)
    for name in fields:
        expected.ClearField(name)  # type: ignore[arg-type]
    expected.MergeFrom(pb.Service(**fields))
    expected.forwarding.limit_scope = PER_CONSUMER
    expected.updated_at.CopyFrom(changed.updated_at)
    expected.etag = changed.etag
    assert changed == expected
    assert set(service.changeable_fields) == set(fields) | OF_IMAGES
    assert (await catalog.audits())[-1][1] == "service.update"
    assert await catalog.snapshots(service.service_id) == []


async def test_a_field_outside_the_mask_keeps_its_value(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    request = _update(service.service_id, description="New words")
    request.name = "Not in the mask"
    changed = await merchant.call(catalog.stub.UpdateService, request)
    assert (changed.name, changed.description) == (service.name, "New words")


async def test_a_new_name_is_told_to_others_and_keeps_the_slug(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    changed = await merchant.call(catalog.stub.UpdateService, _update(service.service_id, name="Climate"))
    assert changed.slug == service.slug
    assert [e.service_changed.name for e in await catalog.events()] == ["Weather", "Climate"]


async def test_an_optional_field_can_be_emptied(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    fields = {"tags": [], "base_url": "", "documentation_url": "", "rate_limit_per_minute": 0}
    changed = await merchant.call(catalog.stub.UpdateService, _update(service.service_id, **fields))
    assert not (changed.tags or changed.base_url or changed.documentation_url)
    assert changed.rate_limit_per_minute == 0


async def test_an_active_service_changes_in_the_gateway_at_once(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    changed = await merchant.call(catalog.stub.UpdateService, _update(service.service_id, **OPEN))
    assert changed.status == ACTIVE
    assert changed.price == service.price
    assert not changed.HasField("revision")
    snapshots = await catalog.snapshots(service.service_id)
    assert [s.forwarding.first_byte_timeout_s for s in snapshots] == [0, 90]
    assert await catalog.snapshots(service.slug) == snapshots


async def test_one_of_the_forwarding_settings_changes_by_itself(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant, **OPEN)
    request = pb.UpdateServiceRequest(
        service_id=service.service_id,
        update_mask=FieldMask(paths=["forwarding.max_connections"]),
        forwarding=ForwardingSettings(max_connections=7),
    )
    changed = await merchant.call(catalog.stub.UpdateService, request)
    assert changed.forwarding.max_connections == 7
    assert changed.forwarding.first_byte_timeout_s == 90


async def test_a_service_that_has_been_active_keeps_its_price(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    before = await catalog.state()
    request = _update(service.service_id, description="New", price=price("9"))
    error = await merchant.error(catalog.stub.UpdateService, request)
    assert isinstance(error, FailedPreconditionError)
    assert (error.code, [v.field for v in error.violations]) == ("service_field_locked", ["price"])
    assert await catalog.state() == before


async def test_a_service_that_waits_for_approval_cannot_be_changed(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.submit(merchant)
    before = await catalog.state()
    error = await merchant.error(catalog.stub.UpdateService, _update(service.service_id, **OPEN))
    assert error.code == "service_not_editable"
    assert not service.changeable_fields
    assert await catalog.state() == before


async def test_a_rejected_service_can_be_corrected(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.submit(merchant)
    await catalog.admin().call(
        catalog.stub.RejectService, pb.RejectServiceRequest(service_id=service.service_id, reason="Why?")
    )
    changed = await merchant.call(catalog.stub.UpdateService, _update(service.service_id, **AWAITED))
    assert changed.name == "New"
    assert changed.rejection_reason == "Why?"


async def test_a_mask_that_names_nothing_or_something_else_is_refused(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    masks: list[list[str]] = [[], ["*"], ["slug"], ["status"], ["price.components"], ["x" * 1_000_000]]
    for paths in masks:
        request = pb.UpdateServiceRequest(service_id=service.service_id, update_mask=FieldMask(paths=paths))
        error = await merchant.error(catalog.stub.UpdateService, request)
        assert isinstance(error, InvalidArgumentError)
        assert error.code == "update_mask_invalid"
        assert len(error.message) < 200


async def test_a_required_field_cannot_be_blanked(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    for field in ["name", "description", "version", "price"]:
        request = pb.UpdateServiceRequest(service_id=service.service_id, update_mask=FieldMask(paths=[field]))
        error = await merchant.error(catalog.stub.UpdateService, request)
        assert isinstance(error, InvalidArgumentError), field
        assert error.code == "field_required"


async def test_new_prices_and_base_urls_are_checked_like_the_first(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    for fields, code in (
        ({"price": price("-1")}, "price_invalid"),
        ({"base_url": "http://10.0.0.1"}, "base_url_private"),
    ):
        error = await merchant.error(catalog.stub.UpdateService, _update(service.service_id, **fields))
        assert error.code == code


async def test_a_docker_service_is_given_no_base_url_later_either(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant, type=DOCKER, base_url="")
    request = _update(service.service_id, base_url="https://api.example.com")
    error = await merchant.error(catalog.stub.UpdateService, request)
    assert isinstance(error, InvalidArgumentError)
    assert (error.code, [v.field for v in error.violations]) == ("base_url_not_for_images", ["baseUrl"])
    words = {field: AWAITED[field] for field in ("name", "description", "tags")}
    changed = await merchant.call(
        catalog.stub.UpdateService, _update(service.service_id, base_url="", **words)
    )
    assert (changed.base_url, changed.description) == ("", AWAITED["description"])


async def test_somebody_elses_service_cannot_be_changed_and_looks_like_none(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant())
    before = await catalog.state()
    outsider = catalog.merchant()
    theirs = await outsider.error(catalog.stub.UpdateService, _update(service.service_id, **OPEN))
    missing = await outsider.error(catalog.stub.UpdateService, _update(str(uuid7()), **OPEN))
    assert isinstance(theirs, NotFoundError)
    assert (theirs.code, theirs.message) == (missing.code, missing.message)
    assert await catalog.state() == before


async def test_a_malformed_id_is_refused(catalog: Catalog) -> None:
    error = await catalog.merchant().error(catalog.stub.UpdateService, _update("weather", **OPEN))
    assert isinstance(error, InvalidArgumentError)
