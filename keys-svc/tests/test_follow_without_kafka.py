"""A consumer's standing comes by Kafka and by asking identity-svc: whichever is first, and while either is
away, the newer is in force."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.identity.v1.events_pb2 import (
    STANDING_ACTIVE,
    STANDING_BLOCKED,
    ConsumerChanged,
    IdentityEvent,
    Standing,
)
from ams.keys.v1.events_pb2 import KeySnapshot
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.client import open_channel
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.ports import free_port
from ams_common.revisions import Revisions, asking
from ams_common.server import cancel
from ams_common.snapshots import key_snapshot_key
from ams_common.standings import StandingFollower, StandingState
from ams_common.testing.eventually import eventually
from ams_common.testing.neighbours import schemas, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keys_svc.event_handlers import apply_identity_events, apply_standings
from keys_svc.store import Store
from redis.asyncio import Redis


class Identity:
    """identity-svc, with Kafka away, and its rows: whom it has blocked is written as it would."""

    def __init__(self, address: str, connection: asyncpg.Connection) -> None:
        self.address = address
        self._connection = connection

    async def tell(self, user_id: UUID, standing: str, version: int, role: str = "consumer") -> None:
        await self._connection.execute(
            "INSERT INTO users (user_id, email, name, created_at) VALUES ($1, $2, 'Cora', now())"
            " ON CONFLICT DO NOTHING",
            user_id,
            f"{user_id}@example.com",
        )
        await self._connection.execute(
            "INSERT INTO user_roles (user_id, role, standing, granted_at, standing_version)"
            " VALUES ($1, $2, $3, now(), $4) ON CONFLICT (user_id, role)"
            " DO UPDATE SET standing = excluded.standing, standing_version = excluded.standing_version",
            user_id,
            role,
            standing,
            version,
        )


@pytest.fixture
async def identity(admin_database_url: str, nobody_listens: str, tmp_path: Path) -> AsyncIterator[Identity]:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": nobody_listens}
    async with (
        schemas(admin_database_url, "identity") as urls,
        serving("identity", urls["identity"], environment, tmp_path) as address,
    ):
        connection = await asyncpg.connect(urls["identity"])
        yield Identity(address, connection)
        await connection.close()


@pytest.fixture
async def follower(identity: Identity, database: Database[Store]) -> AsyncIterator[StandingFollower]:
    async with open_channel(identity.address) as channel:
        yield StandingFollower(database, channel, "keys-svc", "development-secret", CONSUMER, apply_standings)


def redis_key_of(created: Any) -> str:
    return key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())


async def standings(written: Any, created: Any) -> Sequence[Standing.ValueType]:
    return [snapshot.consumer_standing for snapshot in await written.snapshots(redis_key_of(created))]


async def test_a_block_reaches_redis_while_kafka_is_away(
    consumer: Any, new_key: Any, identity: Identity, start_service: Any, nobody_listens: str, redis: Redis
) -> None:
    """All of the process: it asks, applies and relays, and no broker answers."""
    created = await new_key(consumer)
    await start_service(
        free_port(), KAFKA_BOOTSTRAP_SERVERS=nobody_listens, IDENTITY_ADDRESS=identity.address
    )
    for standing, text, version in (
        (STANDING_BLOCKED, "blocked", 1),
        (STANDING_ACTIVE, "active", 2),
        (STANDING_BLOCKED, "blocked", 3),
    ):
        await identity.tell(consumer.user_id, text, version)

        async def is_told(standing: Standing.ValueType = standing) -> bool:
            payload = await redis.get(redis_key_of(created))
            return (
                isinstance(payload, bytes) and KeySnapshot.FromString(payload).consumer_standing == standing
            )

        await eventually(is_told)


async def test_what_was_followed_is_not_asked_for_again(
    consumer: Any, new_key: Any, identity: Identity, follower: StandingFollower, database: Any, written: Any
) -> None:
    created = await new_key(consumer)
    await identity.tell(uuid7(), "suspended", 1, role="merchant")
    await identity.tell(consumer.user_id, "blocked", 2)
    for _ in range(2):
        await follower.catch_up()
    assert await standings(written, created) == [STANDING_ACTIVE, STANDING_BLOCKED]
    # Merchants are the catalog's, and are passed over for good.
    assert await written.count("consumers") == 1
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT version FROM followed_versions") == 2


async def test_more_changes_than_an_answer_holds_are_all_followed(
    identity: Identity, follower: StandingFollower, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ams_common.standings._PAGE_SIZE", 2)
    for version in range(1, 6):
        await identity.tell(uuid7(), "blocked", version)
    await follower.catch_up()
    assert await written.count("consumers") == 5


async def test_an_older_message_of_kafka_undoes_nothing(
    consumer: Any,
    new_key: Any,
    identity: Identity,
    follower: StandingFollower,
    apply_standing: Any,
    written: Any,
) -> None:
    created = await new_key(consumer)
    await identity.tell(consumer.user_id, "blocked", 7)
    await follower.catch_up()
    for version in (0, 6, 7):
        await apply_standing(consumer.user_id, STANDING_ACTIVE, version)
    assert await standings(written, created) == [STANDING_ACTIVE, STANDING_BLOCKED]
    await apply_standing(consumer.user_id, STANDING_ACTIVE, 8)
    assert (await standings(written, created))[-1] == STANDING_ACTIVE


async def test_while_identity_svc_is_away_or_refuses_the_loop_goes_on(
    consumer: Any, identity: Identity, nobody_listens: str, database: Database[Store], written: Any
) -> None:
    async with open_channel(nobody_listens) as away, open_channel(identity.address) as channel:
        for where, secret in ((away, "development-secret"), (channel, "another-secret")):
            following = StandingFollower(database, where, "keys-svc", secret, CONSUMER, apply_standings)
            revisions = Revisions(asking(where, "keys-svc", secret))
            tasks = [asyncio.create_task(work) for work in (following.run(revisions), revisions.run())]
            done, _ = await asyncio.wait(tasks, timeout=1.5)
            assert not done
            await cancel(tasks)
            await asyncio.gather(*tasks, return_exceptions=True)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=10),
    split=st.data(),
)
def test_in_whatever_order_both_ways_tell_the_newest_is_in_force(
    database_url: str, changes: list[tuple[int, bool]], split: st.DataObject
) -> None:
    """A version means one standing: odd ones block. Some come by Kafka, some by asking, some by both."""
    user_id = uuid7()
    told = [
        (StandingState(user_id, STANDING_BLOCKED if version % 2 else STANDING_ACTIVE, version), by_kafka)
        for version, by_kafka in changes
    ]
    together = split.draw(st.booleans(), label="in one transaction")

    async def apply_all() -> tuple[Standing.ValueType, int]:
        async with Database.open(database_url, Store, size=1) as database:
            if together:
                async with database.change_by_system("test", audited=False) as change:
                    await apply_standings(change, [state for state, _ in told])
            else:
                for state, by_kafka in told:
                    async with database.change_by_system("test", audited=False) as change:
                        if by_kafka:
                            changed = ConsumerChanged(
                                consumer_id=str(user_id),
                                standing=state.standing,
                                standing_version=state.version,
                            )
                            await apply_identity_events(change, [IdentityEvent(consumer_changed=changed)])
                        else:
                            await apply_standings(change, [state])
            async with database.read() as store:
                consumer = await store.find_consumer(user_id)
        return consumer.standing, consumer.standing_version

    newest = max((state for state, _ in told), key=lambda state: state.version)
    assert asyncio.run(apply_all()) == (newest.standing, newest.version)
