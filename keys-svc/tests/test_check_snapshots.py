"""A gateway confirms what it holds; who holds an old snapshot had it from a Redis that lies."""

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
from ams.identity.v1.events_pb2 import STANDING_BLOCKED
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KEY_REVOKED
from ams_common.errors import InvalidArgumentError
from ams_common.snapshots import key_snapshot_key

UNKNOWN = bytes(32)


def hash_of(created: Any) -> bytes:
    return hashlib.sha256(created.secret.encode()).digest()


async def check(gateway: Any, held: Mapping[bytes, int]) -> pb.CheckKeySnapshotsResponse:
    asked = [
        pb.CheckKeySnapshotsRequest.Held(key_hash=key_hash, version=version)
        for key_hash, version in held.items()
    ]
    answer: pb.CheckKeySnapshotsResponse = await gateway("CheckKeySnapshots", held=asked)
    return answer


async def version_of(gateway: Any, created: Any) -> int:
    return int((await gateway("GetKeySnapshot", key_hash=hash_of(created))).version)


async def test_what_is_held_as_it_is_goes_unmentioned(
    consumer: Any, new_key: Any, gateway: Any, written: Any
) -> None:
    created = await new_key(consumer)
    answer = await check(gateway, {hash_of(created): await version_of(gateway, created)})
    assert answer == pb.CheckKeySnapshotsResponse()
    assert len(await written.snapshots(key_snapshot_key(hash_of(created)))) == 1


async def test_what_differs_is_answered_and_what_is_not_there_is_named(
    consumer: Any, outsider: Any, new_key: Any, apply_standing: Any, gateway: Any
) -> None:
    revoked, blocked, same = await new_key(consumer), await new_key(outsider), await new_key(consumer)
    held = {hash_of(each): await version_of(gateway, each) for each in (revoked, blocked, same)}
    await consumer("RevokeKey", key_id=revoked.key.key_id)
    await apply_standing(outsider.user_id, STANDING_BLOCKED, 1)
    answer = await check(gateway, {**held, UNKNOWN: 7})
    changed = {each.key_hash: each.snapshot for each in answer.changed}
    assert changed.keys() == {hash_of(revoked), hash_of(blocked)}
    for created in (revoked, blocked):
        assert changed[hash_of(created)] == await gateway("GetKeySnapshot", key_hash=hash_of(created))
    assert changed[hash_of(revoked)].status == KEY_REVOKED
    assert changed[hash_of(blocked)].consumer_standing == STANDING_BLOCKED
    assert list(answer.missing) == [UNKNOWN]


async def test_who_holds_nothing_gets_everything(
    consumer: Any, new_key: Any, gateway: Any, database: Any
) -> None:
    created = [await new_key(consumer) for _ in range(3)]
    async with database.connection() as connection:
        # As the migration leaves keys of before there were versions.
        await connection.execute(
            "UPDATE keys SET snapshot_version = DEFAULT WHERE key_id = $1", created[0].key.key_id
        )
    answer = await check(gateway, {hash_of(each): 0 for each in created})
    assert {each.key_hash for each in answer.changed} == {hash_of(each) for each in created}


async def test_who_holds_an_older_one_has_the_truth_written_to_redis_again_once(
    consumer: Any, new_key: Any, gateway: Any, database: Any, written: Any
) -> None:
    created = await new_key(consumer)
    held = await version_of(gateway, created)
    await consumer("RevokeKey", key_id=created.key.key_id)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM outbox")  # all delivered, and then Redis was restored
    for _ in range(3):
        await check(gateway, {hash_of(created): held})
    [again] = await written.snapshots(key_snapshot_key(hash_of(created)))
    assert again == await gateway("GetKeySnapshot", key_hash=hash_of(created))


async def test_who_holds_a_newer_one_than_there_is_has_nothing_written(
    consumer: Any, new_key: Any, gateway: Any, written: Any
) -> None:
    """The database was restored: Redis, which refuses what is older, would be asked for nothing."""
    created = await new_key(consumer)
    newer = await version_of(gateway, created) + 1
    answer = await check(gateway, {hash_of(created): newer})
    assert [each.key_hash for each in answer.changed] == [hash_of(created)]
    assert len(await written.snapshots(key_snapshot_key(hash_of(created)))) == 1


async def test_hostile_fields_are_refused(gateway: Any) -> None:
    held = pb.CheckKeySnapshotsRequest.Held
    for hostile in (
        [],
        [held(key_hash=b"")],
        [held(key_hash=bytes(31))],
        [held(key_hash=bytes(33))],
        [held(key_hash=number.to_bytes(32, "big")) for number in range(501)],
    ):
        with pytest.raises(InvalidArgumentError):
            await gateway("CheckKeySnapshots", held=hostile)


async def test_hundreds_are_checked_at_once(consumer: Any, new_key: Any, gateway: Any) -> None:
    created = await new_key(consumer)
    unknown = {number.to_bytes(32, "big"): number for number in range(499)}
    answer = await check(gateway, {**unknown, hash_of(created): 1})
    assert (len(answer.changed), len(answer.missing)) == (1, 499)
