"""Grants: rows of their own that end, by whom and why; requests withdrawn; what admins see."""

from typing import Any
from uuid import UUID

import pytest
from ams.identity.v1.notifications_pb2 import Notification
from ams.keys.v1.keys_service_pb2 import (
    ACCESS_ENDED,
    APPROVED,
    BY_ADMIN,
    BY_CONSUMER,
    PENDING,
    WITHDRAWN,
)
from ams_common import apikeys, topics
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7


async def only_grant(caller: Any, **filters: Any) -> Any:
    [grant] = (await caller("ListConsumerGrants", **filters)).grants
    return grant


@pytest.mark.parametrize(
    ("method", "by", "party"),
    [("EndConsumerGrant", "consumer", BY_CONSUMER), ("EndGrant", "admin", BY_ADMIN)],
)
async def test_ended_access_closes_all_keys_for_the_service_and_says_by_whom(
    method: str, by: str, party: int, consumer: Any, admin: Any, grant: Any, new_key: Any, gateway: Any,
    written: Any,
) -> None:  # fmt: skip
    kept, ended_id = sorted([await grant(consumer), await grant(consumer)])
    created = [await new_key(consumer, service_ids=[kept, ended_id]) for _ in range(2)]
    caller = {"consumer": consumer, "admin": admin}[by]
    grant_id = (await only_grant(consumer, service_id=ended_id)).grant_id
    ended = await caller(method, grant_id=grant_id, reason="not needed")
    assert (ended.ended_by, ended.end_reason) == (party, "not needed")
    for each in created:
        snapshot = await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(each.secret))
        assert list(snapshot.service_ids) == [kept]
        key = await consumer("GetKey", key_id=each.key.key_id)
        assert [(lost.service_id, lost.reason) for lost in key.lost_services] == [(ended_id, ACCESS_ENDED)]
    with pytest.raises(FailedPreconditionError) as twice:
        await caller(method, grant_id=grant_id)
    assert twice.value.code == "grant_ended"
    told = [
        Notification.FromString(payload) for payload in await written._outbox("kafka", topics.NOTIFICATIONS)
    ]
    assert [each.access_ended.ended_by for each in told] == ([] if by == "consumer" else ["admin"])
    [record] = await written.audits("access.end")
    assert (record.resource, record.resource_id) == ("grant", grant_id)


async def test_access_can_be_asked_for_again_and_its_history_stays(
    consumer: Any, grant: Any, new_key: Any
) -> None:
    service_id = await grant(consumer)
    created = await new_key(consumer, service_ids=[service_id])
    await consumer("EndConsumerGrant", grant_id=(await only_grant(consumer)).grant_id)
    with pytest.raises(FailedPreconditionError) as refused:
        await new_key(consumer, service_ids=[service_id])
    assert refused.value.code == "service_not_granted"
    await grant(consumer, UUID(service_id))
    listed = (await consumer("ListConsumerGrants", service_id=service_id)).grants
    assert [each.HasField("ended_at") for each in listed] == [False, True]
    assert len((await consumer("ListConsumerGrants", only_in_force=True)).grants) == 1
    # The key that was made by the first grant stays closed until its owner opens it by the new one.
    assert not (await consumer("GetKey", key_id=created.key.key_id)).service_ids
    opened = await consumer("SetKeyServices", key_id=created.key.key_id, service_ids=[service_id])
    assert list(opened.service_ids) == [service_id]


async def test_somebody_elses_grant_answers_as_none(
    consumer: Any, outsider: Any, admin: Any, grant: Any
) -> None:
    await grant(consumer)
    grant_id = (await only_grant(consumer)).grant_id
    assert not (await outsider("ListConsumerGrants")).grants
    for caller, method, wanted in (
        (outsider, "EndConsumerGrant", grant_id),
        (consumer, "EndConsumerGrant", str(uuid7())),
        (admin, "EndGrant", str(uuid7())),
    ):
        with pytest.raises(NotFoundError) as refused:
            await caller(method, grant_id=wanted)
        assert refused.value.code == "grant_not_found"
    with pytest.raises(InvalidArgumentError):
        await consumer("EndConsumerGrant", grant_id="1")


async def test_a_request_is_withdrawn_once_and_can_be_made_anew(
    consumer: Any, outsider: Any, admin: Any, request_access: Any
) -> None:
    request_id = await request_access(consumer)
    with pytest.raises(NotFoundError):
        await outsider("WithdrawAccessRequest", access_request_id=request_id)
    withdrawn = await consumer("WithdrawAccessRequest", access_request_id=request_id)
    assert (withdrawn.status, withdrawn.resolved_by) == (WITHDRAWN, BY_CONSUMER)
    for caller, method in ((consumer, "WithdrawAccessRequest"), (admin, "ApproveAccess")):
        with pytest.raises(FailedPreconditionError) as refused:
            await caller(method, access_request_id=request_id)
        assert refused.value.code == "access_request_not_pending"
    await request_access(consumer, UUID(withdrawn.service_id))
    listed = (await consumer("ListConsumerAccessRequests")).access_requests
    assert [each.status for each in listed] == [PENDING, WITHDRAWN]


async def test_an_admin_sees_a_consumers_grants_and_keys(
    consumer: Any, outsider: Any, admin: Any, grant: Any, new_key: Any
) -> None:
    service_id = await grant(consumer)
    created = await new_key(consumer, service_ids=[service_id])
    await new_key(outsider)
    consumer_id = str(consumer.user_id)
    [key] = (await admin("ListKeysOfConsumer", consumer_id=consumer_id)).keys
    assert (key.key_id, key.is_changeable) == (created.key.key_id, False)
    by_consumer = (await admin("ListGrants", consumer_id=consumer_id)).grants
    by_service = (await admin("ListGrants", service_id=service_id)).grants
    assert [each.service_id for each in by_consumer] == [service_id]
    assert by_service == by_consumer
    with pytest.raises(InvalidArgumentError):
        await admin("ListGrants")
    [asked] = (await admin("ListAccessRequests", consumer_id=consumer_id)).access_requests
    assert (asked.status, asked.resolved_by) == (APPROVED, BY_ADMIN)
