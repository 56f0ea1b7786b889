"""Submit, approve, reject: from a draft to the marketplace."""

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ACTIVE, DRAFT, PENDING_APPROVAL, REJECTED
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_UNSPECIFIED
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from catalog_svc.testing import Caller, Catalog


def _submit(service_id: str) -> pb.SubmitServiceRequest:
    return pb.SubmitServiceRequest(service_id=service_id)


def _approve(service_id: str) -> pb.ApproveServiceRequest:
    return pb.ApproveServiceRequest(service_id=service_id)


def _reject(service_id: str, reason: str = "No documentation") -> pb.RejectServiceRequest:
    return pb.RejectServiceRequest(service_id=service_id, reason=reason)


async def test_submitting_makes_a_draft_wait_for_approval(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.submit(merchant)
    assert service.status == PENDING_APPROVAL
    assert not service.is_submittable
    assert (await catalog.audits())[-1] == (
        str(merchant.user_id),
        "service.submit",
        "service",
        service.service_id,
    )
    assert [e.service_changed.status for e in await catalog.events()] == [DRAFT, PENDING_APPROVAL]


async def test_an_api_service_without_a_base_url_cannot_be_submitted(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant, base_url="")
    before = await catalog.state()
    error = await merchant.error(catalog.stub.SubmitService, _submit(service.service_id))
    assert isinstance(error, FailedPreconditionError)
    assert error.code == "service_incomplete"
    assert [v.field for v in error.violations] == ["baseUrl"]
    assert await catalog.state() == before


async def test_approving_writes_price_version_events_snapshots_and_audit_together(catalog: Catalog) -> None:
    merchant, admin = await catalog.known_merchant(), catalog.admin()
    submitted = await catalog.submit(merchant)
    service = await admin.call(catalog.stub.ApproveService, _approve(submitted.service_id))
    assert service.status == ACTIVE
    assert service.price == submitted.price

    (version,) = await catalog.rows("SELECT * FROM price_versions")
    assert str(version["service_id"]) == service.service_id
    assert json.loads(version["price"]) == {
        "currency": "USD",
        "components": [{"meter": "requests", "scheme": "per_unit", "amount": "0.002"}],
        "charge_rule": {"is_client_error_free": False, "is_abandoned_free": False},
    }

    changed, started = (await catalog.events())[-2:]
    assert changed.service_changed.status == ACTIVE
    assert started.price_version_changed.price_version_id == str(version["price_version_id"])
    assert started.price_version_changed.price == submitted.price
    assert started.price_version_changed.starts_at == service.updated_at

    (by_id,) = await catalog.snapshots(service.service_id)
    assert await catalog.snapshots(service.slug) == [by_id]
    assert by_id.status == ACTIVE
    assert by_id.merchant_standing == STANDING_ACTIVE
    assert by_id.base_url == service.base_url
    assert by_id.rate_limit_per_minute == 600
    assert by_id.price_version_id == str(version["price_version_id"])
    assert (await catalog.audits())[-1] == (
        str(admin.user_id),
        "service.approve",
        "service",
        service.service_id,
    )


async def test_an_approval_that_fails_at_its_end_leaves_nothing_behind(catalog: Catalog) -> None:
    submitted = await catalog.submit(await catalog.known_merchant())
    await catalog.execute("ALTER TABLE outbox ADD CONSTRAINT no_snapshots CHECK (destination <> 'redis')")
    before = await catalog.state()
    error = await catalog.admin().error(catalog.stub.ApproveService, _approve(submitted.service_id))
    assert error.code == "internal"
    assert await catalog.state() == before


async def test_of_two_approvals_at_once_one_wins(catalog: Catalog) -> None:
    submitted = await catalog.submit(await catalog.known_merchant())
    admin = catalog.admin()
    answers = await asyncio.gather(
        *(admin.call(catalog.stub.ApproveService, _approve(submitted.service_id)) for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, pb.Service) for answer in answers) == 1
    assert len(await catalog.rows("SELECT FROM price_versions")) == 1
    assert len(await catalog.snapshots(submitted.service_id)) == 1


async def test_of_an_approval_and_a_rejection_at_once_one_wins(catalog: Catalog) -> None:
    submitted = await catalog.submit(await catalog.known_merchant())
    admin = catalog.admin()
    answers = await asyncio.gather(
        admin.call(catalog.stub.ApproveService, _approve(submitted.service_id)),
        admin.call(catalog.stub.RejectService, _reject(submitted.service_id)),
        return_exceptions=True,
    )
    (winner,) = [answer for answer in answers if isinstance(answer, pb.Service)]
    stored = await admin.call(catalog.stub.GetService, pb.GetServiceRequest(service_id=submitted.service_id))
    assert stored == winner


async def test_an_unknown_merchants_approved_service_has_no_standing_for_the_gateway(
    catalog: Catalog,
) -> None:
    service = await catalog.publish(catalog.merchant())
    (snapshot,) = await catalog.snapshots(service.service_id)
    assert snapshot.merchant_standing == STANDING_UNSPECIFIED


async def test_rejecting_shows_the_reason_and_the_service_can_be_submitted_again(catalog: Catalog) -> None:
    merchant, admin = catalog.merchant(), catalog.admin()
    submitted = await catalog.submit(merchant)
    rejected = await admin.call(catalog.stub.RejectService, _reject(submitted.service_id))
    assert rejected.status == REJECTED
    assert rejected.is_submittable
    assert rejected.rejection_reason == "No documentation"
    assert (await catalog.audits())[-1] == (
        str(admin.user_id),
        "service.reject",
        "service",
        rejected.service_id,
    )
    assert (await catalog.events())[-1].service_changed.status == REJECTED
    again = await merchant.call(catalog.stub.SubmitService, _submit(submitted.service_id))
    assert again.status == PENDING_APPROVAL
    assert again.rejection_reason == ""


async def test_actions_in_the_wrong_state_are_refused_and_change_nothing(catalog: Catalog) -> None:
    merchant, admin = catalog.merchant(), catalog.admin()
    draft, pending = await catalog.create(merchant), await catalog.submit(merchant)
    active = await catalog.publish(merchant)
    before = await catalog.state()
    wrong: list[tuple[Caller, Any, Any, pb.Service, str]] = [
        (admin, catalog.stub.ApproveService, _approve, draft, "service_not_pending"),
        (admin, catalog.stub.RejectService, _reject, draft, "service_not_pending"),
        (merchant, catalog.stub.SubmitService, _submit, pending, "service_not_submittable"),
        (merchant, catalog.stub.SubmitService, _submit, active, "service_not_submittable"),
        (admin, catalog.stub.ApproveService, _approve, active, "service_not_pending"),
        (admin, catalog.stub.RejectService, _reject, active, "service_not_pending"),
    ]
    for caller, method, request, service, code in wrong:
        error = await caller.error(method, request(service.service_id))
        assert isinstance(error, FailedPreconditionError)
        assert error.code == code
    assert await catalog.state() == before


async def test_somebody_elses_service_cannot_be_submitted_and_looks_like_none(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant())
    before = await catalog.state()
    outsider = catalog.merchant()
    theirs = await outsider.error(catalog.stub.SubmitService, _submit(service.service_id))
    missing = await outsider.error(catalog.stub.SubmitService, _submit(str(uuid7())))
    assert isinstance(theirs, NotFoundError)
    assert (theirs.code, theirs.message) == (missing.code, missing.message)
    assert await catalog.state() == before


async def test_missing_and_malformed_ids_are_refused(catalog: Catalog) -> None:
    admin, merchant = catalog.admin(), catalog.merchant()
    for caller, method, request in (
        (merchant, catalog.stub.SubmitService, _submit),
        (admin, catalog.stub.ApproveService, _approve),
        (admin, catalog.stub.RejectService, _reject),
    ):
        assert isinstance(await caller.error(method, request(str(uuid7()))), NotFoundError)
        assert isinstance(await caller.error(method, request("weather")), InvalidArgumentError)


async def test_a_price_version_is_never_changed_or_removed(catalog: Catalog) -> None:
    service = await catalog.publish(catalog.merchant())
    for statement in (
        "UPDATE price_versions SET price = '{}'",
        "UPDATE price_versions SET starts_at = starts_at - interval '1 day'",
        "DELETE FROM price_versions",
        "TRUNCATE price_versions CASCADE",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await catalog.execute(statement)
    assert await catalog.rows("SELECT FROM price_versions WHERE service_id = $1", UUID(service.service_id))
