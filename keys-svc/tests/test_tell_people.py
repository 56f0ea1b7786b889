"""Who is told of requests, decisions and keys that expire."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from keys_svc.access_notices import tell_requested
from keys_svc.expiry_notices import DAYS_AHEAD, tell_all
from keys_svc.store import Store


async def save_service(database: Database[Store], service_id: UUID, merchant_id: UUID) -> None:
    async with database.change_by_system("set up", audited=False) as change:
        await change.store.save_service(
            service_id=service_id,
            name="Weather",
            slug="weather",
            merchant_id=merchant_id,
            changed_at=utc_now(),
        )


@pytest.mark.parametrize("merchant_approves", [False, True])
async def test_a_request_is_told_to_whoever_decides_it(
    database: Database[Store], consumer: Any, merchant: Any, admin: Any, request_access: Any, written: Any,
    merchant_approves: bool,
) -> None:  # fmt: skip
    service_id = uuid7()
    await save_service(database, service_id, merchant.user_id)
    await admin("SetAccessPolicy", service_id=str(service_id), merchant_approves=merchant_approves)
    request_id = UUID(await request_access(consumer, service_id, merchant_id=merchant.user_id))
    for _ in range(2):
        async with database.change_by_system("ask", audited=False) as change:
            request = await change.store.access.find_access_request(access_request_id=request_id)
            assert request is not None
            await tell_requested(change, request)
    told = await written.notifications("access_requested")
    assert {each.user_id for each in told} == {str(merchant.user_id) if merchant_approves else ""}
    # However often it is made: it is one notification.
    assert len({each.notification_id for each in told}) == 1
    assert told[0].access_requested.service_name == "Weather"


@pytest.mark.parametrize(("method", "is_approved"), [("ApproveAccess", True), ("DenyAccess", False)])
async def test_a_decision_is_told_to_whoever_asked_with_its_reason(
    database: Database[Store], consumer: Any, outsider: Any, admin: Any, request_access: Any, written: Any,
    method: str, is_approved: bool,
) -> None:  # fmt: skip
    service_id = uuid7()
    await save_service(database, service_id, uuid7())
    request_id = await request_access(consumer, service_id)
    await request_access(outsider, service_id)
    await admin(method, access_request_id=request_id, reason="because")
    [told] = await written.notifications("access_decided")
    assert told.user_id == str(consumer.user_id)
    decided = told.access_decided
    assert (decided.is_approved, decided.reason) == (is_approved, "because")
    assert (decided.service_name, decided.service_slug) == ("Weather", "weather")


async def test_a_decision_on_a_projects_request_is_told_to_those_who_may_ask(
    database: Database[Store], consumer: Any, admin: Any, request_access: Any, written: Any
) -> None:
    project_id, manager, viewer = uuid7(), uuid7(), uuid7()
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO projects (project_id, name, owner_id) VALUES ($1, 'P', $2)",
            project_id,
            consumer.user_id,
        )
        for user_id, role in ((consumer.user_id, 1), (manager, 2), (viewer, 4)):
            await connection.execute(
                "INSERT INTO project_members (project_id, user_id, role, service_ids)"
                " VALUES ($1, $2, $3, '{}')",
                project_id,
                user_id,
                role,
            )
    request_id = await request_access(consumer, project_id=project_id)
    await admin("ApproveAccess", access_request_id=request_id)
    told = {each.user_id for each in await written.notifications("access_decided")}
    assert {str(consumer.user_id), str(manager)} <= told
    assert str(viewer) not in told


async def days_told(database: Database[Store], written: Any, key: Any, moments: list[datetime]) -> list[int]:
    """How many days ahead its owner was told, when it was looked at these moments."""
    days = []
    for now in moments:
        before = len(await written.notifications("key_expiring"))
        await tell_all(database, lambda now=now: now)  # type: ignore[misc]
        told = (await written.notifications("key_expiring"))[before:]
        days += [
            round((from_timestamp(each.key_expiring.expires_at) - now) / timedelta(days=1)) for each in told
        ]
        assert {each.key_expiring.key_id for each in told} <= {key.key_id}
    return days


@pytest.mark.parametrize(
    ("ttl_days", "looked_at_days_ahead", "told_days_ahead"),
    [
        (30, [15, 14, 14, 13, 4, 3, 2, 1, 1, 0.5], [14, 3, 1]),
        # Who was away tells the latest alone.
        (30, [2, 2, 1, -1], [2, 1]),
        # A key that hasn't lived so long isn't told of its beginning.
        (14, [13.9, 3, 1], [3, 1]),
        (1, [0.9, 0.5], []),
        (30, [-1, -2], []),
    ],
)
async def test_a_key_that_expires_is_told_of_14_3_and_1_day_ahead_each_once(
    database: Database[Store], consumer: Any, new_key: Any, written: Any,
    ttl_days: int, looked_at_days_ahead: list[float], told_days_ahead: list[int],
) -> None:  # fmt: skip
    key = (await new_key(consumer, ttl_days=ttl_days)).key
    expires_at = from_timestamp(key.expires_at)
    moments = [expires_at - timedelta(days=days) for days in looked_at_days_ahead]
    assert await days_told(database, written, key, moments) == told_days_ahead


async def test_a_revoked_key_is_told_of_no_more(
    database: Database[Store], consumer: Any, new_key: Any, written: Any
) -> None:
    kept, revoked = [(await new_key(consumer)).key for _ in range(2)]
    await consumer("RevokeKey", key_id=revoked.key_id)
    await tell_all(database, lambda: from_timestamp(kept.expires_at) - timedelta(hours=12))
    [told] = await written.notifications("key_expiring")
    assert (told.user_id, told.key_expiring.key_id) == (str(consumer.user_id), kept.key_id)


async def test_rotating_a_key_tells_nothing_twice_and_nothing_less(
    database: Database[Store], consumer: Any, new_key: Any, written: Any
) -> None:
    key = (await new_key(consumer)).key
    expires_at, told = from_timestamp(key.expires_at), []
    for days in (14, 3, 1):
        for _ in range(2):
            told += await days_told(database, written, key, [expires_at - timedelta(days=days)])
            await consumer("RotateKey", key_id=key.key_id)
    assert told == [14, 3, 1]


async def move_end(database: Database[Store], moved_by: timedelta) -> None:
    async with database.connection() as connection:
        await connection.execute("UPDATE keys SET expires_at = expires_at + $1", moved_by)


@pytest.mark.parametrize(
    ("moved_by_days", "looked_at_days_ahead", "told_days_ahead"),
    [
        # Later: all of them again, for it is another end.
        (30, [31, 14, 14, 3, 1, 1], [14, 3, 1]),
        # Sooner: at once the latest that is due.
        (-10, [2, 2, 1, 1], [2, 1]),
        # An end that has passed by then.
        (-13, [-1, -2], []),
    ],
)
async def test_a_key_with_another_end_is_told_of_that_one_each_notice_once(
    database: Database[Store], consumer: Any, new_key: Any, written: Any,
    moved_by_days: int, looked_at_days_ahead: list[float], told_days_ahead: list[int],
) -> None:  # fmt: skip
    key = (await new_key(consumer)).key
    expires_at = from_timestamp(key.expires_at)
    assert await days_told(database, written, key, [expires_at - timedelta(days=14)]) == [14]
    await move_end(database, timedelta(days=moved_by_days))
    moved_to = expires_at + timedelta(days=moved_by_days)
    moments = [moved_to - timedelta(days=days) for days in looked_at_days_ahead]
    assert await days_told(database, written, key, moments) == told_days_ahead
    ids = [each.notification_id for each in await written.notifications("key_expiring")]
    assert len(set(ids)) == len(ids)


async def test_an_end_that_is_moved_back_is_told_of_once(
    database: Database[Store], consumer: Any, new_key: Any, written: Any
) -> None:
    """identity-svc tells once for an id."""
    key = (await new_key(consumer)).key
    soon = from_timestamp(key.expires_at) - timedelta(days=14)
    for moved_by in (timedelta(), timedelta(days=30), timedelta(days=-30)):
        await move_end(database, moved_by)
        await tell_all(database, lambda: soon)
    ids = [each.notification_id for each in await written.notifications("key_expiring")]
    assert len(set(ids)) == 1


async def test_what_is_due_is_found_by_an_index_of_what_is_due(
    database: Database[Store], consumer: Any, new_key: Any, written: Any
) -> None:
    """Keys that end soon, whose notices are told, aren't looked at again."""
    key = (await new_key(consumer)).key
    soon = from_timestamp(key.expires_at) - timedelta(days=13)
    await tell_all(database, lambda: soon)
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO consumers SELECT gen_random_uuid() FROM generate_series(1, 100)"
        )
        await connection.execute(
            "INSERT INTO keys (key_id, key_hash, key_prefix, consumer_id, created_by, name, description,"
            " created_at, expires_at, next_notice_at)"
            " SELECT gen_random_uuid(), sha256((number || consumer_id::text)::bytea), 'ams_live_12345678',"
            " consumer_id, consumer_id, 'k', '', $1::timestamptz - interval '30 days',"
            " $1::timestamptz + interval '13 days', $1::timestamptz + interval '10 days'"
            " FROM consumers CROSS JOIN generate_series(1, 100) AS number",
            soon,
        )
        await connection.execute("ANALYZE keys")
        plan = await Store.queries.explain(
            connection, "take_keys_with_notice_due", now=soon, days_ahead=DAYS_AHEAD, limit=500
        )
    _, _, scan = plan.partition("Index Scan using keys_by_next_notice on keys")
    assert scan.splitlines()[1].strip().startswith("Index Cond: (next_notice_at <="), plan
    assert "Seq Scan on keys" not in plan, plan
    await tell_all(database, lambda: soon)
    assert len(await written.notifications("key_expiring")) == 1


async def test_whoever_made_a_projects_key_is_told_beside_whoever_pays(
    database: Database[Store], consumer: Any, new_key: Any, written: Any
) -> None:
    key, maker = (await new_key(consumer)).key, uuid4()
    async with database.connection() as connection:
        await connection.execute("UPDATE keys SET created_by = $1", maker)
    await tell_all(database, lambda: from_timestamp(key.expires_at) - timedelta(hours=1))
    told = {each.user_id for each in await written.notifications("key_expiring")}
    assert told == {str(maker), str(consumer.user_id)}
    assert from_timestamp(key.expires_at) > utc_now()
