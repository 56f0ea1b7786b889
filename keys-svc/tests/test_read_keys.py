import hashlib
from typing import Any

import pytest
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_EXPIRED, KEY_REVOKED
from ams_common.database import Database
from ams_common.errors import InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7


def hash_of(created: Any) -> bytes:
    return hashlib.sha256(created.secret.encode()).digest()


async def expire_all(database: Database) -> None:
    """Moves every key's life into the past."""
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE keys SET created_at = created_at - interval '400 days',"
            " expires_at = expires_at - interval '400 days'"
        )


async def test_a_consumer_lists_its_own_keys_newest_first(consumer: Any, outsider: Any, new_key: Any) -> None:
    made = [(await new_key(consumer)).key for _ in range(3)]
    await new_key(outsider)
    page = await consumer("ListKeys", page_size=2)
    assert list(page.keys) == [made[2], made[1]]
    rest = await consumer("ListKeys", page_size=2, page_token=page.next_page_token)
    assert (list(rest.keys), rest.next_page_token) == ([made[0]], "")


async def test_somebody_elses_key_reads_as_none(consumer: Any, outsider: Any, new_key: Any) -> None:
    for wanted in ((await new_key(consumer)).key.key_id, str(uuid7())):
        with pytest.raises(NotFoundError) as refused:
            await outsider("GetKey", key_id=wanted)
        assert refused.value.code == "key_not_found"


async def test_an_expired_key_reads_as_expired_and_may_be_revoked(
    consumer: Any, new_key: Any, database: Database
) -> None:
    key_id = (await new_key(consumer)).key.key_id
    await expire_all(database)
    assert (await consumer("GetKey", key_id=key_id)).status == KEY_EXPIRED
    assert [key.status for key in (await consumer("ListKeys")).keys] == [KEY_EXPIRED]
    assert (await consumer("RevokeKey", key_id=key_id)).status == KEY_REVOKED


async def test_the_gateway_loads_a_snapshot_by_hash_in_every_state(
    consumer: Any, gateway: Any, new_key: Any, apply_standing: Any
) -> None:
    created = await new_key(consumer)
    snapshot = await gateway("GetKeySnapshot", key_hash=hash_of(created))
    assert (snapshot.key_id, snapshot.service_ids) == (created.key.key_id, created.key.service_ids)
    assert (snapshot.status, snapshot.consumer_standing) == (KEY_ACTIVE, STANDING_ACTIVE)
    await apply_standing(consumer.user_id, STANDING_BLOCKED)
    blocked = await gateway("GetKeySnapshot", key_hash=hash_of(created))
    assert (blocked.status, blocked.consumer_standing) == (KEY_ACTIVE, STANDING_BLOCKED)
    await consumer("RevokeKey", key_id=created.key.key_id)
    revoked = await gateway("GetKeySnapshot", key_hash=hash_of(created))
    assert (revoked.status, revoked.consumer_standing) == (KEY_REVOKED, STANDING_BLOCKED)


async def test_an_unknown_hash_is_not_found(gateway: Any) -> None:
    with pytest.raises(NotFoundError) as refused:
        await gateway("GetKeySnapshot", key_hash=bytes(32))
    assert refused.value.code == "key_not_found"


async def test_what_is_no_hash_is_refused(gateway: Any) -> None:
    for key_hash in (b"", bytes(31), bytes(33), bytes(1_000_000)):
        with pytest.raises(InvalidArgumentError):
            await gateway("GetKeySnapshot", key_hash=key_hash)


async def test_hostile_fields_are_refused(consumer: Any) -> None:
    hostile: list[tuple[str, dict[str, Any]]] = [
        ("GetKey", {"key_id": ""}),
        ("GetKey", {"key_id": "x" * 1_000_000}),
        ("GetKey", {"key_id": "1; DROP TABLE keys"}),
        ("ListKeys", {"page_size": 201}),
        ("ListKeys", {"page_size": -1}),
        ("ListKeys", {"page_token": "x" * 1_000_000}),
        ("ListKeys", {"page_token": "%%%"}),
    ]
    for method, fields in hostile:
        with pytest.raises(InvalidArgumentError):
            await consumer(method, **fields)
