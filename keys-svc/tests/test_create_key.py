import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED
from ams.keys.v1.events_pb2 import KEY_ACTIVE
from ams_common import apikeys
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.errors import AppError, FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from ams_common.ids import uuid7
from ams_common.platform_settings import DEFAULTS
from ams_common.snapshots import key_snapshot_key
from ams_common.testing.eventually import eventually
from keys_svc.key_services import KeyService
from keys_svc.keys import Key, expiry
from keys_svc.store import Store


async def test_a_key_is_made_for_granted_services_and_shown_once(
    consumer: Any, grant: Any, written: Any
) -> None:
    service_ids = [await grant(consumer), await grant(consumer)]
    created = await consumer(
        "CreateKey", name="ci", description="builds", service_ids=service_ids[::-1], ttl_days=7
    )
    key = created.key
    assert (key.name, key.description, key.ttl_days, key.status) == ("ci", "builds", 7, KEY_ACTIVE)
    assert key.consumer_id == str(consumer.user_id)
    assert list(key.service_ids) == service_ids
    assert from_timestamp(key.expires_at) - from_timestamp(key.created_at) == timedelta(days=7)
    assert apikeys.hash_key(created.secret) == hashlib.sha256(created.secret.encode()).digest()
    assert created.secret.startswith(key.key_prefix)
    assert await consumer("GetKey", key_id=key.key_id) == key
    [record] = await written.audits("key.create")
    assert (record.actor, record.resource, record.resource_id) == (str(consumer.user_id), "key", key.key_id)


async def test_the_gateway_gets_a_snapshot_of_a_new_key(consumer: Any, new_key: Any, written: Any) -> None:
    created = await new_key(consumer)
    key_hash = hashlib.sha256(created.secret.encode()).digest()
    [snapshot] = await written.snapshots(key_snapshot_key(key_hash))
    assert (snapshot.key_id, snapshot.consumer_id) == (created.key.key_id, str(consumer.user_id))
    assert (snapshot.status, snapshot.consumer_standing) == (KEY_ACTIVE, STANDING_ACTIVE)
    assert (snapshot.key_prefix, snapshot.project_id) == (created.key.key_prefix, "")
    assert snapshot.service_ids == created.key.service_ids
    assert snapshot.expires_at == created.key.expires_at


async def test_a_test_key_says_so_to_people_and_gateways(consumer: Any, grant: Any, written: Any) -> None:
    fields = {"name": "ci", "service_ids": [await grant(consumer)], "ttl_days": 1}
    for is_test, scheme in ((True, "ams_test_"), (False, "ams_live_")):
        created = await consumer("CreateKey", **fields, is_test=is_test)
        assert created.key.is_test == is_test
        assert created.secret.startswith(scheme)
        assert created.key.key_prefix.startswith(scheme)
        assert await consumer("GetKey", key_id=created.key.key_id) == created.key
        key_hash = apikeys.hash_key(created.secret)
        assert key_hash is not None
        [snapshot] = await written.snapshots(key_snapshot_key(key_hash))
        assert (snapshot.is_test, snapshot.key_prefix) == (is_test, created.key.key_prefix)


async def test_sql_itself_refuses_a_test_key_that_looks_live(
    database: Database[Store], consumer: Any, grant: Any
) -> None:
    key = replace(new_key_of(consumer.user_id, await grant(consumer)), is_test=True)
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.change_by_system("test", audited=False) as change:
            await change.store.add_key(key)


async def test_the_refusal_names_each_service_without_grant_and_only_those(
    consumer: Any, outsider: Any, grant: Any, request_access: Any, written: Any
) -> None:
    mine, theirs, unknown, pending = (await grant(consumer), await grant(outsider), uuid7(), uuid7())
    await request_access(consumer, pending)
    wanted = [mine, theirs, str(unknown), str(pending)]
    with pytest.raises(FailedPreconditionError) as refused:
        await consumer("CreateKey", name="ci", service_ids=wanted, ttl_days=1)
    assert refused.value.code == "service_not_granted"
    assert [name in refused.value.message for name in wanted] == [False, True, True, True]
    assert [violation.field for violation in refused.value.violations] == [
        "serviceIds[1]",
        "serviceIds[2]",
        "serviceIds[3]",
    ]
    assert len({violation.description for violation in refused.value.violations}) == 1
    assert await written.count("keys") == 0


async def test_sql_itself_refuses_a_key_for_a_service_without_grant(
    database: Database[Store], consumer: Any, outsider: Any, grant: Any
) -> None:
    theirs = await grant(outsider)
    key = replace(new_key_of(consumer.user_id, theirs), services=[])
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with database.change_by_system("test", audited=False) as change:
            await change.store.lock_consumer(consumer.user_id)
            await change.store.add_key(key)
            await change.connection.execute(
                "INSERT INTO key_services (key_id, holder_id, service_id, grant_id)"
                " SELECT $1, $2, service_id, grant_id FROM grants WHERE service_id = $3",
                key.key_id,
                consumer.user_id,
                UUID(theirs),
            )


async def test_a_blocked_consumer_can_not_create(
    consumer: Any, grant: Any, apply_standing: Any, written: Any
) -> None:
    service_id = await grant(consumer)
    await apply_standing(consumer.user_id, STANDING_BLOCKED)
    with pytest.raises(PermissionDeniedError) as refused:
        await consumer("CreateKey", name="ci", service_ids=[service_id], ttl_days=1)
    assert refused.value.code == "consumer_blocked"
    assert await written.count("keys") == 0


async def test_a_key_made_while_its_consumer_is_being_blocked_is_refused(
    consumer: Any, grant: Any, database: Database[Store], written: Any, somebody_waits: Any
) -> None:
    service_id = await grant(consumer)
    async with database.change_by_system("test", audited=False) as blocking:
        await blocking.store.lock_consumer(consumer.user_id)
        creating = asyncio.create_task(consumer("CreateKey", name="ci", service_ids=[service_id], ttl_days=1))
        await eventually(somebody_waits)
        await blocking.store.set_standing(
            consumer_id=consumer.user_id, standing="blocked", standing_version=1
        )
    with pytest.raises(PermissionDeniedError):
        await creating
    assert await written.count("keys") == 0


async def test_a_repeated_request_answers_without_the_secret(consumer: Any, grant: Any, written: Any) -> None:
    fields = {"name": "ci", "service_ids": [await grant(consumer)], "ttl_days": 1, "idempotency_key": "a"}
    first, again = await consumer("CreateKey", **fields), await consumer("CreateKey", **fields)
    assert first.secret
    assert (again.key, again.secret) == (first.key, "")
    assert await written.count("keys") == 1
    with pytest.raises(InvalidArgumentError) as refused:
        await consumer("CreateKey", **{**fields, "name": "other"})
    assert refused.value.code == "idempotency_key_reused"


async def test_two_identical_requests_at_once_make_one_key(consumer: Any, grant: Any, written: Any) -> None:
    fields = {"name": "ci", "service_ids": [await grant(consumer)], "ttl_days": 1, "idempotency_key": "a"}
    answers = await asyncio.gather(*[consumer("CreateKey", **fields) for _ in range(2)])
    assert answers[0].key == answers[1].key
    assert sorted(bool(answer.secret) for answer in answers) == [False, True]
    assert await written.count("keys") == 1
    assert len(await written.audits("key.create")) == 1


async def test_an_idempotency_key_is_its_consumers_own(
    consumer: Any, outsider: Any, grant: Any, written: Any
) -> None:
    for caller in (consumer, outsider):
        service_ids = [await grant(caller)]
        created = await caller(
            "CreateKey", name="ci", service_ids=service_ids, ttl_days=1, idempotency_key="a"
        )
        assert (created.key.consumer_id, bool(created.secret)) == (str(caller.user_id), True)
    assert await written.count("keys") == 2


def new_key_of(consumer_id: UUID, service_id: str) -> Key:
    now, new = utc_now(), apikeys.generate()
    return Key(
        key_id=uuid7(),
        key_hash=new.sha256,
        key_prefix=new.prefix,
        consumer_id=consumer_id,
        created_by=consumer_id,
        name="ci",
        description="",
        ttl_days=1,
        created_at=now,
        expires_at=expiry(now, 1),
        services=[KeyService(service_id=UUID(service_id))],
    )


async def test_active_keys_are_limited_also_when_they_are_made_at_once(
    consumer: Any, grant: Any, database: Database[Store], written: Any, somebody_waits: Any
) -> None:
    service_id = await grant(consumer)
    one_more = {"name": "one more", "service_ids": [service_id], "ttl_days": 1}
    async with database.change_by_system("test", audited=False) as change:
        await change.store.lock_consumer(consumer.user_id)
        for _ in range(DEFAULTS.max_active_keys - 1):
            await change.store.add_key(new_key_of(consumer.user_id, service_id))
        attempts = [asyncio.create_task(consumer("CreateKey", **one_more)) for _ in range(3)]
        await eventually(somebody_waits)
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, AppError)]
    assert [error.code for error in refused] == ["key_limit_reached"] * 2
    assert await written.count("keys") == DEFAULTS.max_active_keys
    [created] = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    await consumer("RevokeKey", key_id=created.key.key_id)
    await consumer("CreateKey", **one_more)


async def test_hostile_fields_are_refused(consumer: Any, written: Any) -> None:
    hostile: list[dict[str, Any]] = [
        {"name": ""},
        {"name": "x" * 1_000_000},
        {"name": "nul\x00"},
        {"description": "x" * 1_000_000},
        {"service_ids": []},
        {"service_ids": ["x" * 1_000_000]},
        {"service_ids": ["not-an-id"]},
        {"service_ids": [""]},
        {"service_ids": [str(uuid7()) for _ in range(51)]},
        {"ttl_days": -1},
        {"ttl_days": 366},
        {"idempotency_key": "x" * 65},
    ]
    good = {"name": "ci", "service_ids": [str(uuid7())], "ttl_days": 1}
    for fields in hostile:
        with pytest.raises(InvalidArgumentError) as refused:
            await consumer("CreateKey", **{**good, **fields})
        assert refused.value.code == "invalid_argument"
    assert await written.count("keys") == 0


async def test_a_service_is_assigned_only_once(consumer: Any, grant: Any) -> None:
    service_id = await grant(consumer)
    with pytest.raises(InvalidArgumentError) as refused:
        await consumer("CreateKey", name="ci", service_ids=[service_id, service_id], ttl_days=1)
    assert refused.value.code == "service_ids_repeated"
    assert [violation.field for violation in refused.value.violations] == ["serviceIds[1]"]
