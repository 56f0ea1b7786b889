"""A merchant's standing comes by Kafka and by asking identity-svc: the newer is in force."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_SUSPENDED, Standing
from ams.policy.v1.policy_pb2 import MERCHANT
from ams_common.client import open_channel
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.standings import StandingFollower, StandingState
from ams_common.testing.neighbours import schemas, serving
from catalog_svc.event_handlers import apply_identity_events, apply_standings
from catalog_svc.store import Store
from catalog_svc.testing import Catalog, merchant_event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
async def identity_database(admin_database_url: str) -> AsyncIterator[str]:
    async with schemas(admin_database_url, "identity") as urls:
        yield urls["identity"]


@pytest.fixture
async def follower(
    identity_database: str, database: Database[Store], tmp_path: Path
) -> AsyncIterator[StandingFollower[Store]]:
    """Asks a real identity-svc, which has no Kafka."""
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    async with (
        serving("identity", identity_database, environment, tmp_path) as address,
        open_channel(address) as channel,
    ):
        yield StandingFollower(
            database, channel, "catalog-svc", "development-secret", MERCHANT, apply_standings
        )


async def tell(identity_database: str, user_id: UUID, role: str, standing: str, version: int) -> None:
    """Writes what an admin's decision would."""
    connection = await asyncpg.connect(identity_database)
    await connection.execute(
        "INSERT INTO users (user_id, email, name, created_at) VALUES ($1, $2, 'Mia', now())"
        " ON CONFLICT DO NOTHING",
        user_id,
        f"{user_id}@example.com",
    )
    await connection.execute(
        "INSERT INTO user_roles (user_id, role, standing, granted_at, standing_version)"
        " VALUES ($1, $2, $3, now(), $4) ON CONFLICT (user_id, role)"
        " DO UPDATE SET standing = excluded.standing, standing_version = excluded.standing_version",
        user_id,
        role,
        standing,
        version,
    )
    await connection.close()


async def test_a_suspension_is_followed_without_kafka_and_its_late_messages_change_nothing(
    catalog: Catalog, follower: StandingFollower[Store], identity_database: str
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    await tell(identity_database, merchant.user_id, "merchant", "suspended", 2)
    await tell(identity_database, uuid7(), "consumer", "blocked", 3)
    await follower.catch_up()
    for version, standing in ((1, STANDING_ACTIVE), (2, STANDING_SUSPENDED)):
        await catalog.tell_merchant(merchant, "Acme", standing, version)
    snapshots = await catalog.snapshots(service.slug)
    assert [each.merchant_standing for each in snapshots] == [STANDING_ACTIVE, STANDING_SUSPENDED]
    assert len(await catalog.rows("SELECT FROM merchants")) == 1  # consumers are keys-svc's
    [row] = await catalog.rows("SELECT version FROM followed_versions")
    assert row["version"] == 3


async def test_a_merchant_that_is_heard_of_first_by_asking_gets_its_name_later(
    catalog: Catalog, follower: StandingFollower[Store], identity_database: str
) -> None:
    merchant = catalog.merchant()
    await tell(identity_database, merchant.user_id, "merchant", "active", 1)
    await follower.catch_up()
    await catalog.tell_merchant(merchant, "Acme", STANDING_ACTIVE, 1)
    [row] = await catalog.rows("SELECT display_name, slug, standing, standing_version FROM merchants")
    assert tuple(row) == ("Acme", "acme", "active", 1)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=10))
def test_in_whatever_order_both_ways_tell_the_newest_is_in_force(
    database_url: str, changes: list[tuple[int, bool]]
) -> None:
    """A version means one standing: odd ones suspend. Some come by Kafka, some by asking, some by both."""
    merchant_id = uuid7()

    def standing_of(version: int) -> Standing.ValueType:
        return STANDING_SUSPENDED if version % 2 else STANDING_ACTIVE

    async def apply_all() -> tuple[str, int]:
        async with Database.open(database_url, Store, size=1) as database:
            for version, by_kafka in changes:
                async with database.change_by_system("test", audited=False) as change:
                    if by_kafka:
                        event = merchant_event(merchant_id, "Acme", standing_of(version), version)
                        await apply_identity_events(change, [event])
                    else:
                        state = StandingState(merchant_id, standing_of(version), version)
                        await apply_standings(change, [state])
            async with database.change_by_system("test", audited=False) as change:
                known = await change.store.lock_standing(merchant_id)
        return known.standing, known.standing_version

    newest = max(version for version, _ in changes)
    assert asyncio.run(apply_all()) == ("suspended" if newest % 2 else "active", newest)
