"""RequestAccess from the catalog's answer on, and with catalog-svc away. Both together, through running
services, are in the journeys of tests/."""

from collections.abc import Iterator
from typing import Any

import pytest
from ams.catalog.v1.events_pb2 import ACTIVE, DRAFT, SERVICE_SUSPENDED, ServiceSnapshot
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, STANDING_SUSPENDED
from ams.keys.v1 import keys_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, Rule
from ams_common.context import Caller, RequestContext, request_context
from ams_common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from ams_common.ids import uuid7
from keys_svc.rpc import KeysService


@pytest.fixture
def snapshot() -> ServiceSnapshot:
    return ServiceSnapshot(
        service_id=str(uuid7()), merchant_id=str(uuid7()), status=ACTIVE, merchant_standing=STANDING_ACTIVE
    )


@pytest.fixture
def as_consumer(consumer: Any) -> Iterator[None]:
    """The call as the interceptors leave it for the RPC's code."""
    caller = Caller(user_id=consumer.user_id, roles=frozenset({CONSUMER}))
    reset = request_context.set(RequestContext("test", caller, Rule(audit="access.request")))
    yield
    request_context.reset(reset)


def request_for(snapshot: ServiceSnapshot, idempotency_key: str = "") -> pb.RequestAccessRequest:
    return pb.RequestAccessRequest(
        service_id=snapshot.service_id, note="for our shop", idempotency_key=idempotency_key
    )


@pytest.mark.usefixtures("as_consumer")
async def test_a_request_is_pending_and_audited(
    servicer: KeysService, snapshot: ServiceSnapshot, consumer: Any, written: Any
) -> None:
    added = await servicer.request_access(request_for(snapshot), snapshot)
    assert (added.status, added.note) == (pb.PENDING, "for our shop")
    assert (added.consumer_id, added.service_id) == (str(consumer.user_id), snapshot.service_id)
    assert added.HasField("requested_at")
    assert not added.HasField("resolved_at")
    [record] = await written.audits("access.request")
    assert (record.actor, record.resource_id) == (str(consumer.user_id), added.access_request_id)
    assert record.details["service_id"] == snapshot.service_id


@pytest.mark.usefixtures("as_consumer")
async def test_only_one_request_is_pending_and_a_denied_one_may_be_followed(
    servicer: KeysService, snapshot: ServiceSnapshot, admin: Any, written: Any
) -> None:
    first = await servicer.request_access(request_for(snapshot), snapshot)
    with pytest.raises(AlreadyExistsError) as refused:
        await servicer.request_access(request_for(snapshot), snapshot)
    assert refused.value.code == "access_already_requested"
    await admin("DenyAccess", access_request_id=first.access_request_id)
    second = await servicer.request_access(request_for(snapshot), snapshot)
    assert second.access_request_id != first.access_request_id
    assert await written.count("access_requests") == 2


@pytest.mark.usefixtures("as_consumer")
async def test_access_that_is_granted_is_not_requested_again(
    servicer: KeysService, snapshot: ServiceSnapshot, admin: Any
) -> None:
    first = await servicer.request_access(request_for(snapshot), snapshot)
    await admin("ApproveAccess", access_request_id=first.access_request_id)
    with pytest.raises(FailedPreconditionError) as refused:
        await servicer.request_access(request_for(snapshot), snapshot)
    assert refused.value.code == "access_already_granted"


@pytest.mark.usefixtures("as_consumer")
async def test_a_repeated_request_gets_the_same_answer(
    servicer: KeysService, snapshot: ServiceSnapshot, written: Any
) -> None:
    first = await servicer.request_access(request_for(snapshot, "a"), snapshot)
    assert await servicer.request_access(request_for(snapshot, "a"), snapshot) == first
    assert await written.count("access_requests") == 1
    assert len(await written.audits("access.request")) == 1


@pytest.mark.usefixtures("as_consumer")
async def test_missing_draft_and_suspended_services_answer_alike(
    servicer: KeysService, snapshot: ServiceSnapshot, written: Any
) -> None:
    draft, suspended, shut = ServiceSnapshot(), ServiceSnapshot(), ServiceSnapshot()
    for copy in (draft, suspended, shut):
        copy.CopyFrom(snapshot)
    draft.status, suspended.status, shut.merchant_standing = DRAFT, SERVICE_SUSPENDED, STANDING_SUSPENDED
    answers = set()
    for closed in (None, draft, suspended, shut):
        with pytest.raises(NotFoundError) as refused:
            await servicer.request_access(request_for(snapshot), closed)
        answers.add((refused.value.code, refused.value.message))
    assert answers == {("service_not_found", "There is no such service.")}
    assert await written.count("access_requests") == 0


@pytest.mark.usefixtures("as_consumer")
async def test_a_blocked_consumer_can_not_request(
    servicer: KeysService, snapshot: ServiceSnapshot, consumer: Any, apply_standing: Any, written: Any
) -> None:
    await apply_standing(consumer.user_id, STANDING_BLOCKED)
    with pytest.raises(PermissionDeniedError) as refused:
        await servicer.request_access(request_for(snapshot), snapshot)
    assert refused.value.code == "consumer_blocked"
    assert await written.count("access_requests") == 0


async def test_without_the_catalog_nothing_is_requested(consumer: Any, written: Any) -> None:
    with pytest.raises(UnavailableError) as refused:
        await consumer("RequestAccess", service_id=str(uuid7()))
    assert refused.value.code == "service_unavailable"
    assert await written.count("access_requests") == 0


async def test_hostile_fields_are_refused(consumer: Any) -> None:
    for field, value in (
        ("service_id", ""),
        ("service_id", "a-slug"),
        ("service_id", "x" * 1_000_000),
        ("note", "x" * 1_000_000),
        ("note", "nul\x00"),
        ("idempotency_key", "x" * 65),
    ):
        with pytest.raises(InvalidArgumentError) as refused:
            await consumer("RequestAccess", **{"service_id": str(uuid7()), field: value})
        descriptor = pb.RequestAccessRequest.DESCRIPTOR.fields_by_name[field]
        assert [violation.field for violation in refused.value.violations] == [descriptor.json_name]
