import asyncio
import hashlib
from typing import Any

import pytest
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, ConsumerChanged, IdentityEvent
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_REVOKED
from ams_common.database import Database
from ams_common.errors import AppError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.snapshots import key_snapshot_key
from ams_common.testing.eventually import eventually
from keys_svc.event_handlers import apply_identity_events
from keys_svc.store import Store


async def test_revoking_is_stored_audited_and_overwrites_the_snapshot(
    consumer: Any, new_key: Any, written: Any
) -> None:
    created = await new_key(consumer)
    revoked = await consumer("RevokeKey", key_id=created.key.key_id)
    assert revoked.status == KEY_REVOKED
    assert revoked.HasField("revoked_at")
    revoked.ClearField("effective_by")
    read = await consumer("GetKey", key_id=created.key.key_id)
    revoked.etag = read.etag  # that of the answer is also of what only the answer says
    assert read == revoked
    redis_key = key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())
    assert [snapshot.status for snapshot in await written.snapshots(redis_key)] == [KEY_ACTIVE, KEY_REVOKED]
    [record] = await written.audits("key.revoke")
    assert (record.actor, record.resource_id) == (str(consumer.user_id), created.key.key_id)


async def test_a_key_is_revoked_once_also_when_asked_twice_at_once(
    consumer: Any, new_key: Any, written: Any
) -> None:
    key_id = (await new_key(consumer)).key.key_id
    outcomes = await asyncio.gather(
        *[consumer("RevokeKey", key_id=key_id) for _ in range(2)], return_exceptions=True
    )
    [refused] = [outcome for outcome in outcomes if isinstance(outcome, AppError)]
    assert (type(refused), refused.code) == (FailedPreconditionError, "key_already_revoked")
    assert len(await written.audits("key.revoke")) == 1


async def test_somebody_elses_key_answers_as_none_and_stays(
    consumer: Any, outsider: Any, new_key: Any, written: Any
) -> None:
    key_id = (await new_key(consumer)).key.key_id
    answers = set()
    for wanted in (key_id, str(uuid7())):
        with pytest.raises(NotFoundError) as refused:
            await outsider("RevokeKey", key_id=wanted)
        answers.add((refused.value.code, refused.value.message))
    assert answers == {("key_not_found", "There is no such key.")}
    assert (await consumer("GetKey", key_id=key_id)).status == KEY_ACTIVE
    assert await written.audits("key.revoke") == []


async def test_a_blocked_consumer_may_revoke_and_unblocking_does_not_revive(
    consumer: Any, new_key: Any, apply_standing: Any, written: Any
) -> None:
    created = await new_key(consumer)
    await apply_standing(consumer.user_id, STANDING_BLOCKED)
    await consumer("RevokeKey", key_id=created.key.key_id)
    await apply_standing(consumer.user_id, STANDING_ACTIVE)
    redis_key = key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())
    last = (await written.snapshots(redis_key))[-1]
    assert (last.status, last.consumer_standing) == (KEY_REVOKED, STANDING_BLOCKED)


async def test_a_key_revoked_while_its_consumers_standing_changes_stays_revoked_in_the_snapshot(
    consumer: Any, new_key: Any, database: Database[Store], written: Any, somebody_waits: Any
) -> None:
    created = await new_key(consumer)
    redis_key = key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())
    async with database.change_by_system("test", audited=False) as blocking:
        await blocking.store.lock_consumer(consumer.user_id)
        revoking = asyncio.create_task(consumer("RevokeKey", key_id=created.key.key_id))
        await eventually(somebody_waits)
        event = ConsumerChanged(consumer_id=str(consumer.user_id), standing=STANDING_BLOCKED)
        await apply_identity_events(blocking, [IdentityEvent(consumer_changed=event)])
    await revoking
    assert [(each.status, each.consumer_standing) for each in await written.snapshots(redis_key)] == [
        (KEY_ACTIVE, STANDING_ACTIVE),
        (KEY_ACTIVE, STANDING_BLOCKED),
        (KEY_REVOKED, STANDING_BLOCKED),
    ]


async def test_malformed_ids_are_refused(consumer: Any) -> None:
    for key_id in ("", "1", "x" * 1_000_000, "../keys"):
        with pytest.raises(InvalidArgumentError):
            await consumer("RevokeKey", key_id=key_id)
