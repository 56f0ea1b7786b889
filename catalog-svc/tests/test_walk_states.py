"""Every state of a service × every action × every role: what leads where, and what is refused."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import lifecycle_service_pb2 as lifecycle_pb
from ams.catalog.v1.events_pb2 import (
    ACTIVE,
    DRAFT,
    PENDING_APPROVAL,
    REJECTED,
    SERVICE_RETIRED,
    SERVICE_SUSPENDED,
    ServiceStatus,
)
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_SUSPENDED
from ams_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from ams_common.ids import uuid7
from catalog_svc.lifecycle import TRANSITIONS
from catalog_svc.testing import Caller, Catalog

STATES = ("draft", "pending_approval", "active", "rejected", "suspended", "retired", "withdrawn")
MERCHANTS, ADMINS = "merchant", "admin"
# By action: whose it is, and where it leads from where. "withdrawn" is a draft that was in the marketplace.
EXPECTED: dict[str, tuple[str, dict[str, ServiceStatus.ValueType]]] = {
    "submit": (
        MERCHANTS,
        {"draft": PENDING_APPROVAL, "rejected": PENDING_APPROVAL, "withdrawn": PENDING_APPROVAL},
    ),
    "withdraw": (MERCHANTS, {"pending_approval": DRAFT, "active": DRAFT}),
    "approve": (ADMINS, {"pending_approval": ACTIVE}),
    "reject": (ADMINS, {"pending_approval": REJECTED}),
    "suspend": (ADMINS, {"active": SERVICE_SUSPENDED}),
    "reinstate": (ADMINS, {"suspended": ACTIVE}),
    "retire": (
        MERCHANTS,
        dict.fromkeys(("draft", "rejected", "active", "suspended", "withdrawn"), SERVICE_RETIRED),
    ),
}


def _actions(
    catalog: Catalog, service_id: str
) -> dict[str, tuple[Callable[..., Awaitable[pb.Service]], Any]]:
    stub, way_out = catalog.stub, catalog.lifecycle
    return {
        "submit": (stub.SubmitService, pb.SubmitServiceRequest(service_id=service_id)),
        "withdraw": (way_out.WithdrawService, lifecycle_pb.WithdrawServiceRequest(service_id=service_id)),
        "approve": (stub.ApproveService, pb.ApproveServiceRequest(service_id=service_id)),
        "reject": (stub.RejectService, pb.RejectServiceRequest(service_id=service_id, reason="No")),
        "suspend": (
            way_out.SuspendService,
            lifecycle_pb.SuspendServiceRequest(service_id=service_id, reason="Complaints"),
        ),
        "reinstate": (way_out.ReinstateService, lifecycle_pb.ReinstateServiceRequest(service_id=service_id)),
        "retire": (way_out.RetireService, lifecycle_pb.RetireServiceRequest(service_id=service_id)),
    }


async def _in_state(catalog: Catalog, merchant: Caller, state: str) -> pb.Service:
    ways = {
        "draft": (),
        "pending_approval": ("submit",),
        "active": ("submit", "approve"),
        "rejected": ("submit", "reject"),
        "suspended": ("submit", "approve", "suspend"),
        "retired": ("retire",),
        "withdrawn": ("submit", "approve", "withdraw"),
    }
    service = await catalog.create(merchant)
    for action in ways[state]:
        method, request = _actions(catalog, service.service_id)[action]
        caller = merchant if EXPECTED[action][0] == MERCHANTS else catalog.admin()
        service = await caller.call(method, request)
    return service


def test_the_table_is_the_expected_one() -> None:
    assert TRANSITIONS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("action", EXPECTED)
@pytest.mark.parametrize("state", STATES)
async def test_an_action_leads_where_it_should_or_is_refused_and_changes_nothing(
    catalog: Catalog, state: str, action: str
) -> None:
    merchant = await catalog.known_merchant()
    service = await _in_state(catalog, merchant, state)
    role, ways = EXPECTED[action]
    owner = merchant if role == MERCHANTS else catalog.admin()
    method, request = _actions(catalog, service.service_id)[action]
    assert (action in service.possible_actions) == (state in ways)
    before = await catalog.state()

    others: list[tuple[Caller, type[Exception]]] = [
        (catalog.consumer(), PermissionDeniedError),
        (catalog.nobody(), UnauthenticatedError),
        (catalog.service("gateway"), PermissionDeniedError),
        (catalog.admin() if role == MERCHANTS else merchant, PermissionDeniedError),
    ]
    if role == MERCHANTS:
        others.append((catalog.merchant(), NotFoundError))
    for other, denial in others:
        assert isinstance(await other.error(method, request), denial)
    assert await catalog.state() == before

    if state in ways:
        moved = await owner.call(method, request)
        assert moved.status == ways[state]
        audits = [audit for audit in await catalog.audits() if audit[3] == service.service_id]
        assert audits[-1][:2] == (str(owner.user_id), f"service.{action}")
        assert (await catalog.events())[-1].WhichOneof("event") in (
            "service_changed",
            "price_version_changed",
        )
        told = [e.service_changed.status for e in await catalog.events() if e.HasField("service_changed")]
        assert told[-1] == ways[state]
    else:
        assert isinstance(await owner.error(method, request), FailedPreconditionError)
        assert await catalog.state() == before


@pytest.mark.parametrize("action", [name for name, (role, _) in EXPECTED.items() if role == MERCHANTS])
async def test_a_suspended_merchants_token_moves_nothing(catalog: Catalog, action: str) -> None:
    merchant = await catalog.known_merchant()
    service = await _in_state(catalog, merchant, "draft")
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=1)
    before = await catalog.state()
    error = await merchant.error(*_actions(catalog, service.service_id)[action])
    assert isinstance(error, PermissionDeniedError)
    assert error.code == "merchant_suspended"
    assert await catalog.state() == before
    await catalog.tell_merchant(merchant, standing=STANDING_ACTIVE, version=2)
    if "draft" in EXPECTED[action][1]:
        await merchant.call(*_actions(catalog, service.service_id)[action])


@pytest.mark.parametrize("action", ["withdraw", "suspend", "reinstate", "retire"])
async def test_missing_and_malformed_ids_are_refused(catalog: Catalog, action: str) -> None:
    caller = catalog.merchant() if EXPECTED[action][0] == MERCHANTS else catalog.admin()
    method, request = _actions(catalog, str(uuid7()))[action]
    assert isinstance(await caller.error(method, request), NotFoundError)
    request.service_id = "weather"
    assert isinstance(await caller.error(method, request), InvalidArgumentError)


async def test_a_service_that_leaves_the_marketplace_stops_in_the_gateways_and_comes_back_as_it_was(
    catalog: Catalog,
) -> None:
    merchant = await catalog.known_merchant()
    service = await _in_state(catalog, merchant, "active")
    admin = catalog.admin()
    for action, caller in (
        ("suspend", admin),
        ("reinstate", admin),
        ("withdraw", merchant),
        ("submit", merchant),
        ("approve", admin),
        ("retire", merchant),
    ):
        service = await caller.call(*_actions(catalog, service.service_id)[action])
        shown = await admin.call(catalog.stub.ListMarketplaceServices, pb.ListMarketplaceServicesRequest())
        assert bool(shown.services) == (service.status == ACTIVE), action
    statuses = [snapshot.status for snapshot in await catalog.snapshots(service.slug)]
    assert statuses == [
        *(ACTIVE, SERVICE_SUSPENDED, ACTIVE, DRAFT, PENDING_APPROVAL, ACTIVE, SERVICE_RETIRED),
    ]
    # Approved a second time it goes on with the price that it had.
    assert len(await catalog.rows("SELECT FROM price_versions")) == 1


async def test_a_suspensions_reason_is_shown_until_it_ends(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await _in_state(catalog, merchant, "suspended")
    assert service.suspension_reason == "Complaints"
    reinstated = await catalog.admin().call(*_actions(catalog, service.service_id)["reinstate"])
    assert reinstated.suspension_reason == ""
