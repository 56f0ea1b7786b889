import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from ams.identity.v1.events_pb2 import (
    STANDING_ACTIVE,
    STANDING_BLOCKED,
    STANDING_SUSPENDED,
    STANDING_UNSPECIFIED,
    IdentityEvent,
    MerchantChanged,
    Standing,
)
from ams_common import topics
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.snapshots import key_snapshot_key
from ams_common.testing.eventually import eventually
from keys_svc.event_handlers import apply_identity_events
from keys_svc.store import Store


@pytest.fixture
def running(
    database: Database[Store], kafka_bootstrap: str, topic_prefix: str
) -> Callable[[], AbstractAsyncContextManager[None]]:
    """`async with running():` the consumer works meanwhile; leaving stops it, entering again restarts it."""

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        subscription = Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events)
        consumer = EventConsumer(database, kafka_bootstrap, "keys-svc", [subscription], topic_prefix)
        task = asyncio.create_task(consumer.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return run


def redis_key_of(created: Any) -> str:
    return key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())


async def standings(written: Any, created: Any) -> list[Standing.ValueType]:
    return [snapshot.consumer_standing for snapshot in await written.snapshots(redis_key_of(created))]


async def has_standing(database: Database[Store], consumer_id: UUID, expected: Standing.ValueType) -> bool:
    async with database.read() as store:
        return (await store.find_consumer(consumer_id)).standing == expected


async def test_blocking_and_unblocking_reach_every_live_key_and_no_other(
    consumer: Any, outsider: Any, new_key: Any, apply_standing: Any, written: Any, database: Database
) -> None:
    old = await new_key(consumer)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE keys SET created_at = created_at - interval '1 year', expires_at = now()"
        )
    live, second, revoked = [await new_key(consumer) for _ in range(3)]
    await consumer("RevokeKey", key_id=revoked.key.key_id)
    theirs = await new_key(outsider)
    await apply_standing(consumer.user_id, STANDING_BLOCKED)
    await apply_standing(consumer.user_id, STANDING_ACTIVE)
    for created in (live, second):
        assert await standings(written, created) == [STANDING_ACTIVE, STANDING_BLOCKED, STANDING_ACTIVE]
    assert await standings(written, revoked) == [STANDING_ACTIVE] * 2
    for created in (old, theirs):
        assert await standings(written, created) == [STANDING_ACTIVE]


async def test_an_event_takes_effect_once_though_published_twice_and_read_after_restarts(
    consumer: Any, new_key: Any, running: Any, send: Any, standing_event: Any, written: Any, database: Any
) -> None:
    created = await new_key(consumer)
    blocked = standing_event(consumer.user_id, STANDING_BLOCKED).SerializeToString()
    await send(blocked, blocked)
    async with running():
        await eventually(partial(has_standing, database, consumer.user_id, STANDING_BLOCKED))
    await send(blocked)
    marker = uuid7()
    async with running():
        await send(standing_event(marker, STANDING_BLOCKED).SerializeToString())
        await eventually(partial(has_standing, database, marker, STANDING_BLOCKED))
    assert await standings(written, created) == [STANDING_ACTIVE, STANDING_BLOCKED]
    assert await written.dead_letters() == 0


async def test_the_newest_of_a_topic_counts_though_a_relay_sends_all_of_it_again(
    consumer: Any, new_key: Any, running: Any, send: Any, standing_event: Any, written: Any, database: Any
) -> None:
    created = await new_key(consumer)
    events = [
        standing_event(consumer.user_id, standing).SerializeToString()
        for standing in (STANDING_BLOCKED, STANDING_ACTIVE, STANDING_BLOCKED)
    ]
    marker = uuid7()
    await send(*events, *events, standing_event(marker, STANDING_BLOCKED).SerializeToString())
    async with running():
        await eventually(partial(has_standing, database, marker, STANDING_BLOCKED))
    assert (await standings(written, created))[-1] == STANDING_BLOCKED
    assert await has_standing(database, consumer.user_id, STANDING_BLOCKED)


async def test_malformed_events_are_put_aside_and_the_others_applied(
    running: Any, send: Any, standing_event: Any, written: Any, database: Any
) -> None:
    before, after = uuid7(), uuid7()
    await send(
        standing_event(before, STANDING_BLOCKED).SerializeToString(),
        b"\xff\xff\xff",
        standing_event("nobody", STANDING_BLOCKED).SerializeToString(),
        standing_event(uuid7(), STANDING_UNSPECIFIED).SerializeToString(),
        standing_event(after, STANDING_SUSPENDED).SerializeToString(),
    )
    async with running():
        await eventually(partial(has_standing, database, after, STANDING_SUSPENDED))
    assert await has_standing(database, before, STANDING_BLOCKED)
    assert await written.dead_letters() == 3
    assert await written.count("consumers") == 2


async def test_merchants_standing_is_the_catalogs_business(database: Database[Store], written: Any) -> None:
    event = IdentityEvent(
        merchant_changed=MerchantChanged(merchant_id=str(uuid7()), standing=STANDING_SUSPENDED)
    )
    async with database.change_by_system("consume", audited=False) as change:
        await apply_identity_events(change, [event])
    assert await written.count("consumers") == 0
