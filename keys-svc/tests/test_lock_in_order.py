"""Changes that meet on the same rows wait for each other, and never in a circle (docs/locks.md)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from ams.identity.v1.events_pb2 import (
    PROJECT_MEMBER,
    PROJECT_OWNER,
    STANDING_ACTIVE,
    STANDING_BLOCKED,
    IdentityEvent,
    ProjectChanged,
    ProjectMember,
    ProjectRole,
)
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.standings import StandingState
from ams_common.testing.meetings import begin, held, mingle
from keys_svc.event_handlers import apply_identity_events, apply_standings
from keys_svc.store import Store

pytestmark = pytest.mark.usefixtures("no_deadlock")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database[Store]]:
    """With a connection for each caller."""
    async with Database.open(database_url, Store, size=20) as opened:
        yield opened


def project_event(
    project_id: UUID, version: int, roles: Mapping[UUID, ProjectRole.ValueType]
) -> IdentityEvent:
    [owner_id] = [user_id for user_id, role in roles.items() if role == PROJECT_OWNER]
    changed = ProjectChanged(
        project_id=str(project_id),
        name="Shop",
        owner_id=str(owner_id),
        members=[ProjectMember(user_id=str(user_id), role=role) for user_id, role in roles.items()],
        version=version,
    )
    return IdentityEvent(event_id=str(uuid7()), project_changed=changed)


async def test_a_project_and_standings_reach_the_same_consumers_by_both_ways(
    database: Database[Store], standing_event: Any
) -> None:
    """Kafka tells of a later one's project and of an earlier one's standing; who follows standings asks for
    both, and for one in between."""
    earlier, between, later = sorted(uuid7() for _ in range(3))
    async with database.change_by_system("set up", audited=False) as change:
        for consumer_id in (earlier, between, later):
            await change.store.lock_consumer(consumer_id)
    told = [
        project_event(uuid7(), 1, {later: PROJECT_OWNER}),
        standing_event(earlier, STANDING_BLOCKED, 1),
    ]
    asked = [StandingState(each, STANDING_BLOCKED, 1) for each in (earlier, between, later)]

    async def follow() -> None:
        async with database.change_by_system("follow", audited=False) as change:
            await apply_standings(change, asked)

    async def consume() -> None:
        async with database.change_by_system("consume", audited=False) as change:
            await apply_identity_events(change, told)

    lock = "SELECT FROM consumers WHERE consumer_id = $1 FOR UPDATE"
    async with held(database, lock, between):
        calls = await begin(database, follow(), consume())
    await asyncio.gather(*calls)
    async with database.read() as store:
        found = await store.find_consumers(consumer_ids=[earlier, between, later])
    assert {consumer.standing for consumer in found} == {STANDING_BLOCKED}


async def test_sixteen_at_once_change_one_consumers_keys_and_one_project(
    database: Database[Store],
    new_consumer: Any,
    admin: Any,
    grant: Any,
    request_access: Any,
    standing_event: Any,
) -> None:
    consumer, member = new_consumer(), new_consumer()
    project_id, versions = uuid7(), count(1)

    async def tell(*events: IdentityEvent) -> None:
        async with database.change_by_system("consume", audited=False) as change:
            await apply_identity_events(change, events)

    async def tell_project(owner: Any, other: Any) -> None:
        roles = {owner.user_id: PROJECT_OWNER, other.user_id: PROJECT_MEMBER}
        await tell(project_event(project_id, next(versions), roles))

    async def tell_standing(caller: Any, standing: Any) -> None:
        await tell(standing_event(caller.user_id, standing, next(versions)))

    await tell_project(consumer, member)
    service_id = await grant(consumer)
    shared_id = await grant(consumer, project_id=project_id, owner_id=consumer.user_id)
    more = {"name": "ci", "ttl_days": 30}
    key_id = (await consumer("CreateKey", service_ids=[service_id], **more)).key.key_id
    shared = {"service_ids": [shared_id], "project_id": str(project_id)}
    of_member = (await member("CreateKey", **shared, **more)).key.key_id

    async def ask_and_approve() -> None:
        asked = await request_access(consumer)
        await admin("ApproveAccess", access_request_id=asked)

    done = await mingle(
        [
            partial(consumer, "CreateKey", service_ids=[service_id], **more),
            partial(member, "CreateKey", **shared, **more),
            partial(consumer, "UpdateKey", key_id=key_id, name="other"),
            partial(consumer, "RotateKey", key_id=key_id),
            partial(consumer, "DisableKey", key_id=key_id),
            partial(consumer, "EnableKey", key_id=key_id),
            partial(consumer, "SetKeyServices", key_id=key_id, service_ids=[service_id]),
            partial(member, "UpdateKey", key_id=of_member, name="other"),
            partial(consumer, "RotateKey", key_id=of_member),
            ask_and_approve,
            partial(tell_project, consumer, member),
            partial(tell_project, member, consumer),
            partial(tell_standing, consumer, STANDING_BLOCKED),
            partial(tell_standing, consumer, STANDING_ACTIVE),
            partial(tell_standing, member, STANDING_ACTIVE),
        ]
    )
    assert done
