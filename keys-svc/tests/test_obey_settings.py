"""How many active keys a consumer may have is what admins have set at identity-svc."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from ams_common.client import open_channel
from ams_common.errors import AppError
from ams_common.platform_settings import DEFAULTS, PlatformSettingsFollower
from ams_common.testing.neighbours import schemas, serving
from keys_svc.rpc import KeysService

Identity = tuple[str, asyncpg.Connection]


@pytest.fixture
async def identity(admin_database_url: str, nobody_listens: str, tmp_path: Path) -> AsyncIterator[Identity]:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": nobody_listens}
    async with (
        schemas(admin_database_url, "identity") as urls,
        serving("identity", urls["identity"], environment, tmp_path) as address,
    ):
        connection = await asyncpg.connect(urls["identity"])
        yield address, connection
        await connection.close()


async def set_keys(connection: asyncpg.Connection, version: int, max_active_keys: int) -> None:
    await connection.execute(
        "INSERT INTO platform_settings (version, settings, changed_by, changed_at, reason)"
        " VALUES ($1, $2, $3, now(), '')",
        version,
        json.dumps({"max_active_keys": max_active_keys}),
        uuid4(),
    )


async def test_a_change_is_known_when_it_is_asked_for_again_and_kept_while_nobody_answers(
    identity: Identity,
) -> None:
    address, connection = identity
    async with open_channel(address) as channel:
        follower = PlatformSettingsFollower(channel, "keys-svc", "development-secret")
        assert (follower.current, follower.is_known) == (DEFAULTS, False)
        await follower.ask()
        follower.current.ClearField("etag")
        assert (follower.current, follower.is_known) == (DEFAULTS, True)
        await set_keys(connection, 1, 7)
        await follower.ask()
        # What the version leaves out, of a later release or an earlier one, is as AMS comes.
        assert (follower.current.max_active_keys, follower.current.max_services) == (7, DEFAULTS.max_services)
        assert follower.current.is_registration_open
    with pytest.raises((AppError, grpc.aio.UsageError)):
        await follower.ask()
    assert follower.current.max_active_keys == 7


async def test_a_key_more_than_is_allowed_is_refused_until_more_are(
    consumer: Any, grant: Any, servicer: KeysService
) -> None:
    service_id = await grant(consumer)
    fields = {"name": "key", "service_ids": [service_id], "ttl_days": 1}
    servicer.max_active_keys = lambda: 2
    for _ in range(2):
        await consumer("CreateKey", **fields)
    with pytest.raises(AppError) as refused:
        await consumer("CreateKey", **fields)
    assert refused.value.code == "key_limit_reached"
    assert "2 are allowed" in refused.value.message
    servicer.max_active_keys = lambda: 3
    await consumer("CreateKey", **fields)
