"""Revisions: a service in the marketplace changes only once an admin has approved it."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import lifecycle_service_pb2 as lifecycle_pb
from ams.catalog.v1 import revision_service_pb2 as revision_pb
from ams.catalog.v1.forwarding_pb2 import PER_KEY, ForwardingSettings
from ams.catalog.v1.metadata_pb2 import PRIVATE, ServiceLevels, SupportContact
from ams.catalog.v1.revision_pb2 import (
    REVISION_APPROVED,
    REVISION_PENDING,
    REVISION_REJECTED,
    REVISION_WITHDRAWN,
    ServiceRevision,
)
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from catalog_svc.edits import FIELDS, WHEN_LIVE, WhenLive
from catalog_svc.testing import Caller, Catalog
from google.protobuf.field_mask_pb2 import FieldMask

CHANGES: dict[str, Any] = {
    "name": "Climate",
    "base_url": "https://api.example.com/v2",
    "tags": ["climate"],
    "rate_limit_per_minute": 60,
    "service_levels": ServiceLevels(availability_ppm=999_000),
    "visibility": PRIVATE,
}


def _update(service_id: str, etag: str = "", **fields: Any) -> pb.UpdateServiceRequest:
    return pb.UpdateServiceRequest(
        service_id=service_id,
        update_mask=FieldMask(paths=list(fields)),
        etag=etag,
        **fields,
    )


async def _revise(catalog: Catalog, merchant: Caller, service: pb.Service, **fields: Any) -> pb.Service:
    return await merchant.call(catalog.stub.UpdateService, _update(service.service_id, **fields))


def _approve(revision: ServiceRevision, version: int = 0) -> revision_pb.ApproveRevisionRequest:
    return revision_pb.ApproveRevisionRequest(
        service_id=revision.service_id,
        revision_id=revision.revision_id,
        version=version or revision.version,
        reason="Fine",
    )


def _reject(revision: ServiceRevision) -> revision_pb.RejectRevisionRequest:
    return revision_pb.RejectRevisionRequest(
        service_id=revision.service_id,
        revision_id=revision.revision_id,
        version=revision.version,
        reason="The new address doesn't answer",
    )


def _withdraw(revision: ServiceRevision) -> revision_pb.WithdrawRevisionRequest:
    return revision_pb.WithdrawRevisionRequest(
        service_id=revision.service_id, revision_id=revision.revision_id
    )


async def _shown(catalog: Catalog, caller: Caller, service: pb.Service) -> pb.Service:
    return await caller.call(catalog.stub.GetService, pb.GetServiceRequest(service_id=service.service_id))


async def _published(catalog: Catalog) -> tuple[Caller, pb.Service]:
    merchant = await catalog.known_merchant()
    return merchant, await catalog.publish(merchant)


async def test_a_change_waits_while_the_service_stays_as_it_is_and_admins_see_the_difference(
    catalog: Catalog,
) -> None:
    merchant, service = await _published(catalog)
    told, snapshots = await catalog.events(), await catalog.snapshots(service.slug)
    changed = await _revise(catalog, merchant, service, **CHANGES)
    revision = changed.revision
    assert (revision.status, revision.number, revision.version) == (REVISION_PENDING, 1, 1)
    assert [(each.field, each.before, each.after) for each in revision.changes] == [
        ("base_url", "https://api.example.com/v1", "https://api.example.com/v2"),
        ("name", "Weather", "Climate"),
        ("rate_limit_per_minute", "600", "60"),
        ("service_levels.availability_ppm", "0", "999000"),
        ("tags", "weather, geo", "climate"),
        ("visibility", "public", "private"),
    ]
    expected = pb.Service()
    expected.CopyFrom(service)
    expected.revision.CopyFrom(revision)
    expected.etag = changed.etag
    assert changed == expected
    assert (await catalog.events(), await catalog.snapshots(service.slug)) == (told, snapshots)
    admin = catalog.admin()
    assert (await _shown(catalog, admin, service)).revision == revision
    waiting = await admin.call(
        catalog.revisions.ListPendingRevisions, revision_pb.ListPendingRevisionsRequest()
    )
    assert list(waiting.revisions) == [revision]
    assert (revision.service_name, revision.merchant_name) == ("Weather", "Acme")
    assert (await catalog.audits())[-1][1] == "service.update"


async def test_an_approved_revision_is_in_force_everywhere_with_its_audit(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    revision = (await _revise(catalog, merchant, service, **CHANGES)).revision
    admin = catalog.admin()
    approved = await admin.call(catalog.revisions.ApproveRevision, _approve(revision))
    assert (approved.status, approved.reason) == (REVISION_APPROVED, "Fine")
    assert approved.changes == revision.changes
    after = await _shown(catalog, merchant, service)
    for field, value in CHANGES.items():
        assert getattr(after, field) == value, field
    assert after.slug == service.slug
    assert not after.HasField("revision")
    assert (await catalog.events())[-1].service_changed.name == "Climate"
    snapshot = (await catalog.snapshots(service.slug))[-1]
    assert (snapshot.base_url, snapshot.rate_limit_per_minute) == ("https://api.example.com/v2", 60)
    assert (await catalog.audits())[-1] == (
        *(str(admin.user_id), "revision.approve", "service"),
        service.service_id,
    )


async def test_a_rejected_revision_leaves_the_service_and_shows_its_reason_until_the_next(
    catalog: Catalog,
) -> None:
    merchant, service = await _published(catalog)
    revision = (await _revise(catalog, merchant, service, **CHANGES)).revision
    state = await catalog.rows("SELECT * FROM services")
    rejected = await catalog.admin().call(catalog.revisions.RejectRevision, _reject(revision))
    assert rejected.status == REVISION_REJECTED
    assert await catalog.rows("SELECT * FROM services") == state
    shown = (await _shown(catalog, merchant, service)).revision
    assert shown == rejected
    assert shown.reason == "The new address doesn't answer"
    again = (await _revise(catalog, merchant, service, name="Climate")).revision
    assert (again.number, again.status, [each.field for each in again.changes]) == (
        *(2, REVISION_PENDING),
        ["name"],
    )


async def test_the_merchant_edits_what_waits_and_what_is_changed_back_goes_out_of_it(
    catalog: Catalog,
) -> None:
    merchant, service = await _published(catalog)
    first = (await _revise(catalog, merchant, service, name="Climate", version="2.0.0")).revision
    second = (await _revise(catalog, merchant, service, version="2.0.1", description="More")).revision
    assert (second.revision_id, second.number, second.version) == (first.revision_id, 1, 2)
    assert [each.field for each in second.changes] == ["description", "name", "version"]
    third = (await _revise(catalog, merchant, service, name="Weather", version="1.0.0")).revision
    assert [each.field for each in third.changes] == ["description"]
    last = await _revise(catalog, merchant, service, description=service.description)
    assert not last.HasField("revision")
    [row] = await catalog.rows("SELECT status, version FROM service_revisions")
    assert tuple(row) == ("withdrawn", 4)


async def test_a_change_to_what_is_there_already_makes_no_revision(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    same = await _revise(catalog, merchant, service, name=service.name, tags=list(service.tags))
    assert not same.HasField("revision")
    assert not await catalog.rows("SELECT FROM service_revisions")


async def test_a_withdrawn_revision_is_never_decided(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    revision = (await _revise(catalog, merchant, service, **CHANGES)).revision
    withdrawn = await merchant.call(catalog.revisions.WithdrawRevision, _withdraw(revision))
    assert withdrawn.status == REVISION_WITHDRAWN
    assert not (await _shown(catalog, merchant, service)).HasField("revision")
    before = await catalog.state()
    for method, request in (
        (catalog.revisions.ApproveRevision, _approve(withdrawn)),
        (catalog.revisions.RejectRevision, _reject(withdrawn)),
    ):
        error = await catalog.admin().error(method, request)
        assert error.code == "revision_not_pending"
    error = await merchant.error(catalog.revisions.WithdrawRevision, _withdraw(revision))
    assert error.code == "revision_not_pending"
    assert await catalog.state() == before


async def test_nothing_is_decided_about_another_version_than_was_looked_at(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    seen = (await _revise(catalog, merchant, service, name="Climate")).revision
    await _revise(catalog, merchant, service, name="Gambling")
    before = await catalog.state()
    admin = catalog.admin()
    for method, request in (
        (catalog.revisions.ApproveRevision, _approve(seen)),
        (catalog.revisions.RejectRevision, _reject(seen)),
    ):
        error = await admin.error(method, request)
        assert isinstance(error, FailedPreconditionError)
        assert error.code == "revision_changed"
    unseen = _approve(seen)
    unseen.version = 0
    assert isinstance(await admin.error(catalog.revisions.ApproveRevision, unseen), InvalidArgumentError)
    assert await catalog.state() == before


async def test_of_two_people_of_a_merchant_the_one_who_saw_less_is_told(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    seen = await _revise(catalog, merchant, service, name="Climate")
    await merchant.call(catalog.stub.UpdateService, _update(service.service_id, seen.etag, name="Clouds"))
    before = await catalog.state()
    for stale in (service.etag, seen.etag):
        request = _update(service.service_id, stale, description="New")
        assert (await merchant.error(catalog.stub.UpdateService, request)).code == "etag_mismatch"
    assert await catalog.state() == before


async def test_of_an_edit_and_an_approval_at_once_nothing_unseen_goes_live(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    seen = (await _revise(catalog, merchant, service, name="Climate")).revision
    await asyncio.gather(
        catalog.admin().call(catalog.revisions.ApproveRevision, _approve(seen)),
        _revise(catalog, merchant, service, name="Gambling"),
        return_exceptions=True,
    )
    assert (await _shown(catalog, merchant, service)).name in ("Weather", "Climate")
    assert len(await catalog.rows("SELECT FROM service_revisions WHERE status = 'pending'")) == 1


async def test_of_two_first_changes_at_once_both_are_in_one_revision(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    await asyncio.gather(
        _revise(catalog, merchant, service, name="Climate"),
        _revise(catalog, merchant, service, version="2.0.0"),
    )
    revision = (await _shown(catalog, merchant, service)).revision
    assert [each.field for each in revision.changes] == ["name", "version"]


async def test_what_changes_at_once_passes_by_the_revision_that_waits(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    forwarding = ForwardingSettings(first_byte_timeout_s=9, quota_per_day=5, limit_scope=PER_KEY)
    changed = await _revise(catalog, merchant, service, name="Climate", forwarding=forwarding)
    assert (changed.forwarding.first_byte_timeout_s, changed.forwarding.quota_per_day) == (9, 0)
    await _revise(
        catalog, merchant, service, forwarding=ForwardingSettings(first_byte_timeout_s=8, quota_per_day=5)
    )
    waiting = (await _shown(catalog, merchant, service)).revision
    assert [each.field for each in waiting.changes] == ["forwarding.quota_per_day", "name"]
    await catalog.admin().call(catalog.revisions.ApproveRevision, _approve(waiting))
    after = await _shown(catalog, merchant, service)
    assert (after.forwarding.first_byte_timeout_s, after.forwarding.quota_per_day) == (8, 5)


async def test_a_revision_is_checked_as_a_draft_is(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    before = await catalog.state()
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"base_url": "http://10.0.0.1"}, "base_url_private"),
        ({"base_url": ""}, "service_incomplete"),
        ({"categories": ["nothing"]}, "category_unknown"),
        ({"support_contact": SupportContact(email="nobody")}, "invalid_argument"),
    )
    for fields, code in wrong:
        error = await merchant.error(catalog.stub.UpdateService, _update(service.service_id, **fields))
        assert error.code == code, fields
    assert await catalog.state() == before


@pytest.mark.parametrize("leave", ["withdraw", "retire"])
async def test_with_the_service_its_revision_leaves(catalog: Catalog, leave: str) -> None:
    merchant, service = await _published(catalog)
    await _revise(catalog, merchant, service, **CHANGES)
    request = {"service_id": service.service_id}
    if leave == "withdraw":
        await merchant.call(catalog.lifecycle.WithdrawService, lifecycle_pb.WithdrawServiceRequest(**request))
    else:
        await merchant.call(catalog.lifecycle.RetireService, lifecycle_pb.RetireServiceRequest(**request))
    [row] = await catalog.rows("SELECT status FROM service_revisions")
    assert row["status"] == "withdrawn"


async def test_of_a_suspended_service_a_revision_waits_for_its_reinstating(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    revision = (await _revise(catalog, merchant, service, **CHANGES)).revision
    admin = catalog.admin()
    suspend = lifecycle_pb.SuspendServiceRequest(service_id=service.service_id, reason="Complaints")
    await admin.call(catalog.lifecycle.SuspendService, suspend)
    error = await admin.error(catalog.revisions.ApproveRevision, _approve(revision))
    assert error.code == "service_not_active"
    reinstate = lifecycle_pb.ReinstateServiceRequest(service_id=service.service_id)
    await admin.call(catalog.lifecycle.ReinstateService, reinstate)
    approved = await admin.call(catalog.revisions.ApproveRevision, _approve(revision))
    assert approved.status == REVISION_APPROVED


async def test_somebody_elses_revisions_look_like_none_and_malformed_ids_are_refused(
    catalog: Catalog,
) -> None:
    merchant, service = await _published(catalog)
    revision = (await _revise(catalog, merchant, service, **CHANGES)).revision
    outsider, admin = catalog.merchant(), catalog.admin()
    get = revision_pb.GetRevisionRequest(service_id=service.service_id, revision_id=revision.revision_id)
    listing = revision_pb.ListServiceRevisionsRequest(service_id=service.service_id)
    before = await catalog.state()
    for method, request in (
        (catalog.revisions.GetRevision, get),
        (catalog.revisions.ListServiceRevisions, listing),
        (catalog.revisions.WithdrawRevision, _withdraw(revision)),
    ):
        assert isinstance(await outsider.error(method, request), NotFoundError)
    # Nor under the name of another service.
    other = await catalog.publish(merchant)
    elsewhere = _approve(revision)
    elsewhere.service_id = other.service_id
    missing = _approve(revision)
    missing.revision_id = str(uuid7())
    for wrong in (elsewhere, missing):
        assert (await admin.error(catalog.revisions.ApproveRevision, wrong)).code == "revision_not_found"
    malformed = _approve(revision)
    malformed.revision_id = "first"
    assert isinstance(await admin.error(catalog.revisions.ApproveRevision, malformed), InvalidArgumentError)
    assert (await catalog.rows("SELECT * FROM service_revisions")) == before[2]


async def test_the_owner_and_admins_see_what_a_revision_proposes_and_the_ones_before(
    catalog: Catalog,
) -> None:
    merchant, service = await _published(catalog)
    numbers = []
    for name in ("Climate", "Clouds", "Rain"):
        revision = (await _revise(catalog, merchant, service, name=name)).revision
        numbers.append(revision.number)
        if name != "Rain":
            await merchant.call(catalog.revisions.WithdrawRevision, _withdraw(revision))
    assert numbers == [1, 2, 3]
    get = revision_pb.GetRevisionRequest(service_id=service.service_id, revision_id=revision.revision_id)
    listing = revision_pb.ListServiceRevisionsRequest(service_id=service.service_id, page_size=2)
    for caller in (merchant, catalog.admin()):
        answer = await caller.call(catalog.revisions.GetRevision, get)
        assert (answer.revision.number, answer.proposed.name) == (3, "Rain")
        page = await caller.call(catalog.revisions.ListServiceRevisions, listing)
        assert [each.number for each in page.revisions] == [3, 2]
        more = revision_pb.ListServiceRevisionsRequest(
            service_id=service.service_id, page_token=page.next_page_token
        )
        page = await caller.call(catalog.revisions.ListServiceRevisions, more)
        assert [each.number for each in page.revisions] == [1]


async def test_lists_of_services_tell_what_waits(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    await catalog.publish(merchant)
    await _revise(catalog, merchant, service, name="Climate")
    own = await merchant.call(catalog.stub.ListMerchantServices, pb.ListMerchantServicesRequest())
    every = await catalog.admin().call(catalog.stub.ListServices, pb.ListServicesRequest())
    for listed in (own.services, every.services):
        assert [each.service_id for each in listed if each.HasField("revision")] == [service.service_id]


async def test_the_database_keeps_one_open_revision_of_a_service(catalog: Catalog) -> None:
    merchant, service = await _published(catalog)
    await _revise(catalog, merchant, service, name="Climate")
    insert = (
        "INSERT INTO service_revisions"
        " (revision_id, service_id, number, status, content, created_at, updated_at)"
        f" VALUES ('{uuid7()}', '{UUID(service.service_id)}', 2, 'pending', '{{}}', now(), now())"
    )
    with pytest.raises(Exception, match="service_revisions_open"):
        await catalog.execute(insert)


def test_each_field_that_can_be_changed_says_when() -> None:
    request = set(pb.UpdateServiceRequest.DESCRIPTOR.fields_by_name) - {
        *("service_id", "update_mask", "etag"),
    }
    assert {name.partition(".")[0] for name in FIELDS} == request
    at_once = {name for name, when in WHEN_LIVE.items() if when is WhenLive.AT_ONCE}
    assert at_once == {
        f"forwarding.{name}"
        for name in (
            *("first_byte_timeout_s", "idle_timeout_s", "total_timeout_s", "max_connections"),
            *("passes_cookies", "cors_origins", "allows_websockets", "shows_costs"),
        )
    }
