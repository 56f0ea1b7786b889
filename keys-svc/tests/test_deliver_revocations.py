"""Whatever takes something away tells when it holds: at once where Redis could be told, else by when gateways
have asked."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from ams.keys.v1 import (
    exposures_service_pb2,
    grants_service_pb2,
    key_settings_service_pb2,
    keys_service_pb2,
    service_consumers_service_pb2,
)
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_REVOKED, CallRule, KeySnapshot, KeyStatus
from ams.keys.v1.service_consumers_service_pb2 import ConsumerLimits
from ams.policy.v1.policy_pb2 import rule
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.outbox import Deliveries, is_delivered
from ams_common.pseudonyms import Pseudonyms
from ams_common.snapshots import INVALIDATION_CHANNEL, key_snapshot_key, snapshot_version_key
from ams_common.testing.eventually import eventually
from google.type.money_pb2 import Money
from keys_svc.testing import Team
from redis.asyncio import Redis

SERVICES = [
    service
    for module in (
        *(exposures_service_pb2, grants_service_pb2, key_settings_service_pb2, keys_service_pb2),
        service_consumers_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]
EURO = Money(currency_code="EUR", units=1)
# What each is asked with, beside what it is about.
TAKING: Mapping[str, Mapping[str, Any]] = {
    "RevokeKey": {},
    "DisableKey": {},
    "RotateKey": {},
    "EndPreviousSecret": {},
    "SetKeyServices": {},
    "SetAllowedNetworks": {"allowed_networks": ["192.0.2.1"]},
    "SetAllowedCalls": {"allowed_calls": [CallRule(path="/x")]},
    "SetKeySpendCap": {"amount": EURO},
    "SetProjectSpendCap": {"amount": EURO},
    "SetSpendCap": {"amount": EURO},
    "EndGrant": {},
    "EndConsumerGrant": {},
    "BlockServiceConsumer": {},
    "SetServiceConsumerLimits": {"limits": ConsumerLimits(per_minute=1)},
    "EndServiceConsumerAccess": {},
    "RevokeServiceKey": {},
}
OTHERS = {
    # They give, or name, or let nobody do less.
    *(
        "CreateKey",
        "UpdateKey",
        "EnableKey",
        "UnblockServiceConsumer",
        "SetExposureChoice",
        "SetAccessPolicy",
    ),
    *("RequestAccess", "WithdrawAccessRequest", "ApproveAccess", "ApproveMerchantAccess"),
    *("DenyAccess", "DenyMerchantAccess"),
    # Whoever hands in a key that was found isn't its owner, and learns nothing of what becomes of it.
    *("ReportFoundKeys", "HandInKey"),
}


@pytest.fixture
def deliveries(database: Database) -> Deliveries:
    """As in the process; its patience is long enough for a machine that is busy."""
    return Deliveries(database, wait_s=5.0)


@pytest.fixture
def impatient(deliveries: Deliveries) -> Deliveries:
    deliveries.wait_s = 0.2
    return deliveries


@pytest.fixture(autouse=True)
def told_when(consumer: Any, merchant: Any, admin: Any, team: Team) -> None:
    """What is looked at here, and left out elsewhere."""
    for caller in (consumer, merchant, admin, team.owner):
        caller.told_when = True


@pytest.fixture
async def taking(
    request: pytest.FixtureRequest,
    consumer: Any,
    merchant: Any,
    admin: Any,
    team: Team,
    team_service: Any,
    grant: Any,
    new_key: Any,
    pseudonyms: Pseudonyms,
    deliveries: Deliveries,
) -> Callable[[], Awaitable[Any]]:
    """One of TAKING, by a parameter, with all that it needs: its answer, or of it what has changed."""
    rpc: str = request.param
    service_id = await grant(consumer, merchant_id=merchant.user_id)
    key = (await new_key(consumer, service_ids=[service_id])).key
    about_key = {"key_id": key.key_id}
    sold = {"service_id": service_id, "consumer": pseudonyms.of_consumer(merchant.user_id, consumer.user_id)}
    about: dict[str, Any] = {}
    caller = consumer
    match rpc:
        case "SetSpendCap":
            pass
        case "SetProjectSpendCap":
            caller, project_id = team.owner, str(team.project_id)
            fields = {"name": "ci", "service_ids": [await team_service()], "ttl_days": 1}
            await team.owner("CreateKey", **fields, project_id=project_id)
            about = {"project_id": project_id}
        case "SetKeyServices":
            about = {**about_key, "service_ids": [await grant(consumer)]}
        case "SetAllowedCalls":
            about = {**about_key, "service_id": service_id}
        case "EndPreviousSecret":
            # Nothing is relayed yet that it could wait for.
            patience, deliveries.wait_s = deliveries.wait_s, 0.01
            await consumer("RotateKey", **about_key, overlap_minutes=60)
            deliveries.wait_s = patience
            about = about_key
        case "EndGrant" | "EndConsumerGrant":
            caller = admin if rpc == "EndGrant" else consumer
            about = {"grant_id": (await admin("ListGrants", service_id=service_id)).grants[0].grant_id}
        case "RevokeServiceKey":
            caller = merchant
            about = {**sold, "key": pseudonyms.of_key(merchant.user_id, UUID(key.key_id))}
        case _ if "ServiceConsumer" in rpc:
            caller, about = merchant, sold
        case _:
            about = about_key

    async def take() -> Any:
        answer = await caller(rpc, **about, **TAKING[rpc])
        return answer.key if rpc == "RotateKey" else answer

    return take


each_taking = pytest.mark.parametrize("taking", TAKING, indirect=True)


def redis_key_of(created: Any) -> str:
    return key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())


async def status_in(redis: Redis, created: Any) -> KeyStatus.ValueType | None:
    payload = await redis.get(redis_key_of(created))
    return KeySnapshot.FromString(payload).status if isinstance(payload, bytes) else None


def says_by_when(answer: Any) -> bool:
    """Within the minute in which each gateway confirms what it holds."""
    if not answer.HasField("effective_by"):
        return False
    remaining = from_timestamp(answer.effective_by) - utc_now()
    return timedelta(seconds=30) < remaining <= timedelta(seconds=60)


def test_every_rpc_is_known_to_take_something_away_or_not_to() -> None:
    changing = {
        method.name
        for service in SERVICES
        for method in service.methods
        if method.GetOptions().Extensions[rule].audit
    }
    assert changing == set(TAKING) | OTHERS
    assert not set(TAKING) & OTHERS


@each_taking
async def test_what_redis_was_told_says_no_time(taking: Any, relaying: Any, own_redis: Redis) -> None:
    async with relaying(own_redis):
        assert not (await taking()).HasField("effective_by")


@each_taking
async def test_what_redis_could_not_be_told_says_by_when(
    taking: Any, relaying: Any, nobody_listens: str, impatient: Deliveries
) -> None:
    async with Redis.from_url(f"redis://{nobody_listens}") as away, relaying(away):
        assert says_by_when(await taking())


async def test_where_redis_was_told_it_holds_already(
    consumer: Any, new_key: Any, relaying: Any, own_redis: Redis
) -> None:
    created = await new_key(consumer)
    async with relaying(own_redis):
        revoked = await consumer("RevokeKey", key_id=created.key.key_id)
    assert not revoked.HasField("effective_by")
    assert await status_in(own_redis, created) == KEY_REVOKED


async def test_while_redis_refuses_writes_the_answer_says_by_when(
    consumer: Any, new_key: Any, relaying: Any, own_redis: Redis, database: Database, impatient: Deliveries
) -> None:
    created = await new_key(consumer)
    async with relaying(own_redis):
        assert await is_delivered(database, [redis_key_of(created)], 30)
        await own_redis.config_set("min-replicas-to-write", 1)
        revoked = await consumer("RevokeKey", key_id=created.key.key_id)
        assert says_by_when(revoked)
        assert await status_in(own_redis, created) == KEY_ACTIVE
        await own_redis.config_set("min-replicas-to-write", 0)

        async def has_arrived() -> bool:
            return await status_in(own_redis, created) == KEY_REVOKED

        await eventually(has_arrived)
    assert not (await consumer("GetKey", key_id=created.key.key_id)).HasField("effective_by")


async def test_a_full_redis_holds_no_revoked_key_as_good_and_gateways_are_told(
    consumer: Any, new_key: Any, relaying: Any, own_redis: Redis, database: Database
) -> None:
    created = await new_key(consumer)
    await own_redis.config_set("maxmemory-policy", "noeviction")
    async with relaying(own_redis), own_redis.pubsub() as news:
        assert await is_delivered(database, [redis_key_of(created)], 30)
        assert await status_in(own_redis, created) == KEY_ACTIVE
        await news.subscribe(INVALIDATION_CHANNEL)
        await own_redis.config_set("maxmemory", 1)
        revoked = await consumer("RevokeKey", key_id=created.key.key_id)
        assert not revoked.HasField("effective_by")
        assert await status_in(own_redis, created) is None

        async def is_announced() -> bool:
            message = await news.get_message(ignore_subscribe_messages=True, timeout=0.1)
            return message is not None and message["data"] == redis_key_of(created).encode()

        await eventually(is_announced)


async def test_a_restored_redis_is_healed_as_soon_as_a_gateway_confirms_what_it_found_there(
    consumer: Any, gateway: Any, new_key: Any, relaying: Any, own_redis: Redis, database: Database
) -> None:
    created = await new_key(consumer)
    redis_key = redis_key_of(created)
    async with relaying(own_redis):
        assert await is_delivered(database, [redis_key], 30)
        older: dict[str, Any] = {
            key: await own_redis.get(key) for key in (redis_key, snapshot_version_key(redis_key))
        }
        await consumer("RevokeKey", key_id=created.key.key_id)
        await own_redis.mset(older)
        assert await status_in(own_redis, created) == KEY_ACTIVE
        held = pb.CheckKeySnapshotsRequest.Held(
            key_hash=hashlib.sha256(created.secret.encode()).digest(),
            version=KeySnapshot.FromString(older[redis_key]).version,
        )
        answer = await gateway("CheckKeySnapshots", held=[held])
        assert [each.snapshot.status for each in answer.changed] == [KEY_REVOKED]

        async def is_healed() -> bool:
            return await status_in(own_redis, created) == KEY_REVOKED

        await eventually(is_healed)


async def test_no_lock_is_held_while_an_answer_waits(
    consumer: Any, new_key: Any, deliveries: Deliveries, database: Database
) -> None:
    """Nothing is relayed, so the first waits for long; the consumer can change other things meanwhile."""
    created = await new_key(consumer)
    deliveries.wait_s = 60
    revoking = asyncio.create_task(consumer("RevokeKey", key_id=created.key.key_id))

    async def is_revoked() -> bool:
        return bool((await consumer("GetKey", key_id=created.key.key_id)).status == KEY_REVOKED)

    await eventually(is_revoked)
    await consumer("UpdateKey", key_id=(await new_key(consumer)).key.key_id, name="another")
    assert not revoking.done()
    async with database.connection() as connection:
        await connection.execute("DELETE FROM outbox")  # as the relay does once all is delivered
    assert not (await revoking).HasField("effective_by")
