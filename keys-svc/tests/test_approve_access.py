import asyncio
from typing import Any
from uuid import UUID

import pytest
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import AppError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from keys_svc.access_requests import DENIED
from keys_svc.store import Store

DECISIONS = [("ApproveAccess", pb.APPROVED, 1), ("DenyAccess", pb.DENIED, 0)]


@pytest.mark.parametrize(("method", "status", "grants"), DECISIONS)
async def test_a_decision_is_stored_audited_and_only_approval_grants(
    method: str,
    status: int,
    grants: int,
    admin: Any,
    consumer: Any,
    request_access: Any,
    written: Any,
    database: Any,
) -> None:
    access_request_id = await request_access(consumer)
    answer = await admin(method, access_request_id=access_request_id, reason="checked")
    assert (answer.status, answer.reason) == (status, "checked")
    assert answer.HasField("resolved_at")
    assert await written.count("grants") == grants
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT resolved_by FROM access_requests") == admin.user_id
    [record] = await written.audits("access.approve" if grants else "access.deny")
    assert (record.actor, record.resource_id) == (str(admin.user_id), access_request_id)
    assert record.details["consumer_id"] == str(consumer.user_id)


@pytest.mark.parametrize(("method", "status", "grants"), DECISIONS)
async def test_what_is_decided_stays_decided(
    method: str, status: int, grants: int, admin: Any, consumer: Any, request_access: Any, written: Any
) -> None:
    access_request_id = await request_access(consumer)
    await admin(method, access_request_id=access_request_id)
    for again in ("ApproveAccess", "DenyAccess"):
        with pytest.raises(FailedPreconditionError) as refused:
            await admin(again, access_request_id=access_request_id)
        assert refused.value.code == "access_request_not_pending"
    assert await written.count("grants") == grants


@pytest.mark.parametrize("rival", ["ApproveAccess", "DenyAccess"])
async def test_of_two_decisions_at_once_one_counts(
    rival: str, admin: Any, consumer: Any, request_access: Any, written: Any
) -> None:
    access_request_id = await request_access(consumer)
    outcomes = await asyncio.gather(
        admin("ApproveAccess", access_request_id=access_request_id),
        admin(rival, access_request_id=access_request_id),
        return_exceptions=True,
    )
    [refused] = [outcome for outcome in outcomes if isinstance(outcome, AppError)]
    [decided] = [outcome for outcome in outcomes if not isinstance(outcome, AppError)]
    assert refused.code == "access_request_not_pending"
    assert not isinstance(decided, BaseException)
    assert await written.count("grants") == (decided.status == pb.APPROVED)
    records = [*await written.audits("access.approve"), *await written.audits("access.deny")]
    assert len(records) == 1


@pytest.mark.parametrize("method", ["ApproveAccess", "DenyAccess"])
async def test_a_decision_waits_for_the_one_being_made_and_then_finds_it(
    method: str,
    admin: Any,
    consumer: Any,
    request_access: Any,
    written: Any,
    database: Database[Store],
    somebody_waits: Any,
) -> None:
    access_request_id = await request_access(consumer)
    async with database.change_by_system("test", audited=False) as first:
        await first.store.access.lock_access_request(access_request_id=UUID(access_request_id))
        second = asyncio.create_task(admin(method, access_request_id=access_request_id))
        await eventually(somebody_waits)
        await first.store.access.resolve_access_request(
            access_request_id=UUID(access_request_id),
            status=DENIED,
            reason="",
            resolved_at=utc_now(),
            resolved_by=uuid7(),
            resolver="admin",
        )
    with pytest.raises(FailedPreconditionError) as refused:
        await second
    assert refused.value.code == "access_request_not_pending"
    assert await written.count("grants") == 0


@pytest.mark.parametrize("method", ["ApproveAccess", "DenyAccess"])
async def test_no_such_request_and_no_id_are_refused(method: str, admin: Any) -> None:
    with pytest.raises(NotFoundError) as missing:
        await admin(method, access_request_id=str(uuid7()))
    assert missing.value.code == "access_request_not_found"
    for malformed in ("", "1", "x" * 36, str(UUID(int=1)).upper() + "\n"):
        with pytest.raises(InvalidArgumentError):
            await admin(method, access_request_id=malformed)


async def test_the_registry_reads_what_a_consumer_may_use(
    consumer: Any, outsider: Any, registry: Any, grant: Any
) -> None:
    services = [await grant(consumer) for _ in range(2)]
    await grant(outsider)
    answer = await registry("ListGrantedServices", consumer_id=str(consumer.user_id))
    assert list(answer.service_ids) == services
    nobody = await registry("ListGrantedServices", consumer_id=str(uuid7()))
    assert list(nobody.service_ids) == []
