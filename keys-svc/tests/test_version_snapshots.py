"""Of two snapshots of a key the one with the higher version is in force: so each change makes one."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED
from ams.keys.v1.events_pb2 import KEY_REVOKED, KeySnapshot
from ams_common.database import Database
from ams_common.snapshots import key_snapshot_key
from google.type.money_pb2 import Money


def hash_of(created: Any) -> bytes:
    return hashlib.sha256(created.secret.encode()).digest()


async def versions(written: Any, created: Any) -> Sequence[int]:
    snapshots: list[KeySnapshot] = await written.snapshots(key_snapshot_key(hash_of(created)))
    return [snapshot.version for snapshot in snapshots]


async def test_each_change_of_key_caps_or_standing_makes_a_higher_version(
    consumer: Any, new_key: Any, apply_standing: Any, gateway: Any, written: Any
) -> None:
    created = await new_key(consumer)
    await consumer("SetKeySpendCap", key_id=created.key.key_id, amount=Money(currency_code="EUR", units=1))
    await consumer("SetSpendCap", amount=Money(currency_code="EUR", units=2))
    await apply_standing(consumer.user_id, STANDING_BLOCKED, 1)
    await apply_standing(consumer.user_id, STANDING_ACTIVE, 2)
    await consumer("RevokeKey", key_id=created.key.key_id)
    found = await versions(written, created)
    assert len(found) == 6
    assert list(found) == sorted(set(found))
    assert (await gateway("GetKeySnapshot", key_hash=hash_of(created))).version == found[-1]


async def test_a_key_that_opens_nothing_gets_its_version_too_though_no_gateway_is_told(
    consumer: Any, new_key: Any, apply_standing: Any, gateway: Any, written: Any
) -> None:
    created = await new_key(consumer)
    await consumer("RevokeKey", key_id=created.key.key_id)
    before = await gateway("GetKeySnapshot", key_hash=hash_of(created))
    await apply_standing(consumer.user_id, STANDING_BLOCKED, 1)
    after = await gateway("GetKeySnapshot", key_hash=hash_of(created))
    assert (after.status, after.consumer_standing) == (KEY_REVOKED, STANDING_BLOCKED)
    assert after.version > before.version
    assert len(await versions(written, created)) == 2


async def test_another_keys_version_stays(consumer: Any, outsider: Any, new_key: Any, gateway: Any) -> None:
    changed, same, theirs = await new_key(consumer), await new_key(consumer), await new_key(outsider)
    before = [await gateway("GetKeySnapshot", key_hash=hash_of(each)) for each in (same, theirs)]
    await consumer("RevokeKey", key_id=changed.key.key_id)
    await outsider("SetSpendCap")
    after = [await gateway("GetKeySnapshot", key_hash=hash_of(each)) for each in (same, theirs)]
    assert after[0] == before[0]
    assert after[1].version > before[1].version


async def test_changes_at_once_never_tie_and_the_last_tells_of_all(
    consumer: Any, new_key: Any, apply_standing: Any, gateway: Any, written: Any
) -> None:
    created = await new_key(consumer)
    caps = [Money(currency_code="EUR", units=units) for units in range(1, 5)]
    await asyncio.gather(
        *[consumer("SetKeySpendCap", key_id=created.key.key_id, amount=cap) for cap in caps],
        apply_standing(consumer.user_id, STANDING_BLOCKED, 1),
        consumer("RevokeKey", key_id=created.key.key_id),
        return_exceptions=True,  # a cap for a key that has just been revoked
    )
    found = await versions(written, created)
    assert len(set(found)) == len(found)
    snapshots = await written.snapshots(key_snapshot_key(hash_of(created)))
    newest = max(snapshots, key=lambda snapshot: snapshot.version)
    assert newest.status == KEY_REVOKED
    now = await gateway("GetKeySnapshot", key_hash=hash_of(created))
    assert now.consumer_standing == STANDING_BLOCKED
    assert now.version >= newest.version


async def test_versions_grow_though_the_clock_was_set_back(
    consumer: Any, new_key: Any, gateway: Any, database: Database
) -> None:
    created = await new_key(consumer)
    ahead = 2**52
    async with database.connection() as connection:
        await connection.execute("UPDATE keys SET snapshot_version = $1", ahead)
    await consumer("RevokeKey", key_id=created.key.key_id)
    assert (await gateway("GetKeySnapshot", key_hash=hash_of(created))).version == ahead + 1


async def test_versions_after_a_restore_are_above_those_before_it(
    consumer: Any, new_key: Any, gateway: Any, database: Database
) -> None:
    """The backup is older than what gateways hold: what they then hear must count."""
    created = await new_key(consumer)
    held = (await gateway("GetKeySnapshot", key_hash=hash_of(created))).version
    async with database.connection() as connection:
        await connection.execute("UPDATE keys SET snapshot_version = 1")
    await consumer("RevokeKey", key_id=created.key.key_id)
    assert (await gateway("GetKeySnapshot", key_hash=hash_of(created))).version > held
