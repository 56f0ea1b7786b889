"""Who is told of requests, decisions and keys that expire."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from keys_svc.access_notices import tell_requested
from keys_svc.expiry_notices import tell_all
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


async def test_a_revoked_key_is_told_of_no_more_and_a_new_end_is(
    database: Database[Store], consumer: Any, new_key: Any, written: Any
) -> None:
    kept, revoked = [(await new_key(consumer)).key for _ in range(2)]
    await consumer("RevokeKey", key_id=revoked.key_id)
    soon = from_timestamp(kept.expires_at) - timedelta(hours=12)
    await tell_all(database, lambda: soon)
    [told] = await written.notifications("key_expiring")
    assert (told.user_id, told.key_expiring.key_id) == (str(consumer.user_id), kept.key_id)
    async with database.connection() as connection:
        await connection.execute("UPDATE keys SET expires_at = expires_at + interval '30 days'")
    await tell_all(database, lambda: soon + timedelta(days=30))
    ids = [each.notification_id for each in await written.notifications("key_expiring")]
    assert len(ids) == len(set(ids)) == 2


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
