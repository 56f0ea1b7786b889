"""Whatever a gateway holds, and whatever Redis has lost, asking finds each change of a key's snapshot."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from ams.identity.v1.events_pb2 import STANDING_BLOCKED
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import CallRule, KeySnapshot
from ams.keys.v1.service_consumers_service_pb2 import ConsumerLimits
from ams_common import apikeys
from ams_common.database import Database
from ams_common.pseudonyms import Pseudonyms
from google.type.money_pb2 import Money
from keys_svc.testing import Team

Change = Callable[[], Awaitable[Any]]
EURO = Money(currency_code="EUR", units=1)


@pytest.fixture
async def changes(
    consumer: Any,
    merchant: Any,
    admin: Any,
    grant: Any,
    new_key: Any,
    apply_standing: Any,
    pseudonyms: Pseudonyms,
) -> tuple[str, dict[str, Change]]:
    """A key's secret, and each change that its snapshot has to tell of."""
    kept, spare = await grant(consumer, merchant_id=merchant.user_id), await grant(consumer)
    created = await new_key(consumer, service_ids=[kept])
    key_id = {"key_id": created.key.key_id}
    named = {
        "service_id": kept,
        "consumer": pseudonyms.of_consumer(merchant.user_id, consumer.user_id),
    }
    key_name = pseudonyms.of_key(merchant.user_id, UUID(created.key.key_id))

    async def end_grant() -> None:
        [granted] = (await admin("ListGrants", service_id=spare)).grants
        await admin("EndGrant", grant_id=granted.grant_id)

    return created.secret, {
        "disabled": lambda: consumer("DisableKey", **key_id),
        "enabled": lambda: consumer("EnableKey", **key_id),
        "networks": lambda: consumer("SetAllowedNetworks", **key_id, allowed_networks=["192.0.2.1"]),
        "calls": lambda: consumer(
            "SetAllowedCalls", **key_id, service_id=kept, allowed_calls=[CallRule(path="/x")]
        ),
        "services": lambda: consumer("SetKeyServices", **key_id, service_ids=[kept, spare]),
        "key's spend cap": lambda: consumer("SetKeySpendCap", **key_id, amount=EURO),
        "consumer's spend cap": lambda: consumer("SetSpendCap", amount=EURO),
        "limits": lambda: merchant("SetServiceConsumerLimits", **named, limits=ConsumerLimits(per_minute=1)),
        "blocked by merchant": lambda: merchant("BlockServiceConsumer", **named),
        "unblocked by merchant": lambda: merchant("UnblockServiceConsumer", **named),
        "revoked for a service": lambda: merchant("RevokeServiceKey", **named, key=key_name),
        "access ended": end_grant,
        "rotated with an overlap": lambda: consumer("RotateKey", **key_id, overlap_minutes=10),
        "overlap ended": lambda: consumer("EndPreviousSecret", **key_id),
        "revoked": lambda: consumer("RevokeKey", **key_id),
        "blocked everywhere": lambda: apply_standing(consumer.user_id, STANDING_BLOCKED, 1),
    }


@pytest.fixture
async def project_changes(team: Team, team_service: Any) -> tuple[str, dict[str, Change]]:
    """As `changes`, of a project's key: what only such a one can tell of."""
    project_id = str(team.project_id)
    created = await team.members["member"](
        "CreateKey", name="ci", service_ids=[await team_service()], ttl_days=30, project_id=project_id
    )
    return created.secret, {
        "project's spend cap": lambda: team.owner("SetProjectSpendCap", project_id=project_id, amount=EURO),
        "handed over": lambda: team.tell(owner="manager"),
        "its maker left": lambda: team.tell(without="member", owner="manager"),
    }


@pytest.mark.parametrize("is_projects", [False, True])
async def test_each_change_is_found_by_asking_and_written_again(
    is_projects: bool,
    changes: tuple[str, dict[str, Change]],
    project_changes: tuple[str, dict[str, Change]],
    gateway: Any,
    database: Database,
    written: Any,
) -> None:
    secret, each = project_changes if is_projects else changes
    key_hash = apikeys.hash_key(secret)
    assert key_hash is not None
    held: KeySnapshot = await gateway("GetKeySnapshot", key_hash=key_hash)
    for name, change in each.items():
        await change()
        async with database.connection() as connection:
            # Redis never gets what this change has written.
            await connection.execute("DELETE FROM outbox WHERE destination = 'redis'")
        asked = pb.CheckKeySnapshotsRequest.Held(key_hash=key_hash, version=held.version)
        answer = await gateway("CheckKeySnapshots", held=[asked])
        assert [found.key_hash for found in answer.changed] == [key_hash], name
        snapshot = answer.changed[0].snapshot
        told, before = KeySnapshot(), KeySnapshot()
        told.CopyFrom(snapshot)
        before.CopyFrom(held)
        told.version = before.version = 0
        assert told != before, name
        assert await written.count("outbox WHERE destination = 'redis'") == 1, name
        held = snapshot
