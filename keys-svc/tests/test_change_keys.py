"""What an owner may change about a key, and that every gateway hears of it."""

from datetime import timedelta
from typing import Any

import pytest
from ams.identity.v1.events_pb2 import STANDING_BLOCKED
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED, CallRule, KeySnapshot
from ams_common import apikeys
from ams_common.clock import from_timestamp, to_timestamp, utc_now
from ams_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from ams_common.ids import uuid7
from ams_common.snapshots import key_snapshot_key

# Each change of a key, and what it is asked with.
CHANGES: dict[str, dict[str, Any]] = {
    "UpdateKey": {"name": "new", "description": "newer"},
    "SetAllowedNetworks": {"allowed_networks": ["192.0.2.0/24"]},
    "SetAllowedCalls": {"allowed_calls": [CallRule(path="/v1/*")]},
    "DisableKey": {},
    "RotateKey": {"overlap_minutes": 60},
}
AUDITS = {
    "UpdateKey": "key.update",
    "SetAllowedNetworks": "key.set_allowed_networks",
    "SetAllowedCalls": "key.set_allowed_calls",
    "DisableKey": "key.disable",
    "RotateKey": "key.rotate",
}


def fields_of(method: str, created: Any) -> dict[str, Any]:
    needs_service = method == "SetAllowedCalls"
    return CHANGES[method] | ({"service_id": created.key.service_ids[0]} if needs_service else {})


async def latest(written: Any, secret: str) -> KeySnapshot:
    key_hash = apikeys.hash_key(secret)
    assert key_hash is not None
    snapshot: KeySnapshot = (await written.snapshots(key_snapshot_key(key_hash)))[-1]
    return snapshot


@pytest.mark.parametrize("method", CHANGES)
async def test_each_change_is_the_owners_reaches_the_gateways_and_is_audited(
    method: str, consumer: Any, outsider: Any, new_key: Any, written: Any
) -> None:
    created = await new_key(consumer)
    fields = fields_of(method, created)
    with pytest.raises(NotFoundError) as refused:
        await outsider(method, key_id=created.key.key_id, **fields)
    assert refused.value.code == "key_not_found"
    before = await latest(written, created.secret)
    await consumer(method, key_id=created.key.key_id, **fields)
    assert (await latest(written, created.secret)).version > before.version
    [record] = await written.audits(AUDITS[method])
    assert (record.actor, record.resource_id) == (str(consumer.user_id), created.key.key_id)


@pytest.mark.parametrize("method", CHANGES)
async def test_a_revoked_key_and_one_that_there_is_not_can_not_be_changed(
    method: str, consumer: Any, new_key: Any
) -> None:
    created = await new_key(consumer)
    await consumer("RevokeKey", key_id=created.key.key_id)
    with pytest.raises(FailedPreconditionError) as revoked:
        await consumer(method, key_id=created.key.key_id, **fields_of(method, created))
    assert revoked.value.code == "key_already_revoked"
    with pytest.raises(NotFoundError):
        await consumer(method, key_id=str(uuid7()), **fields_of(method, created))
    with pytest.raises(InvalidArgumentError):
        await consumer(method, key_id="1", **fields_of(method, created))


async def test_a_key_is_renamed(consumer: Any, new_key: Any) -> None:
    created = await new_key(consumer)
    renamed = await consumer("UpdateKey", key_id=created.key.key_id, name="web", description="shop")
    assert (renamed.name, renamed.description) == ("web", "shop")
    assert await consumer("GetKey", key_id=created.key.key_id) == renamed


async def test_a_disabled_key_can_be_enabled_and_each_only_once(
    consumer: Any, new_key: Any, written: Any
) -> None:
    created = await new_key(consumer)
    key_id = {"key_id": created.key.key_id}
    with pytest.raises(FailedPreconditionError) as early:
        await consumer("EnableKey", **key_id)
    assert early.value.code == "key_not_disabled"
    disabled = await consumer("DisableKey", **key_id)
    assert disabled.status == KEY_DISABLED
    assert (await latest(written, created.secret)).status == KEY_DISABLED
    with pytest.raises(FailedPreconditionError) as twice:
        await consumer("DisableKey", **key_id)
    assert twice.value.code == "key_not_active"
    listed = await consumer("ListKeys", status=KEY_DISABLED)
    assert [key.key_id for key in listed.keys] == [created.key.key_id]
    assert (await consumer("EnableKey", **key_id)).status == KEY_ACTIVE
    assert (await latest(written, created.secret)).status == KEY_ACTIVE


async def test_networks_are_kept_in_one_form_and_hostile_ones_named(
    consumer: Any, new_key: Any, written: Any
) -> None:
    created = await new_key(consumer)
    networks = ["192.0.2.0/24", "198.51.100.7", "2001:DB8:0::/32", "192.0.2.0/24"]
    changed = await consumer("SetAllowedNetworks", key_id=created.key.key_id, allowed_networks=networks)
    kept = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"]
    assert changed.allowed_networks == kept
    assert (await latest(written, created.secret)).allowed_networks == kept
    with pytest.raises(InvalidArgumentError) as refused:
        await consumer(
            "SetAllowedNetworks",
            key_id=created.key.key_id,
            allowed_networks=["10.0.0.0/8", "10.0.0.1/8", "x"],
        )
    assert refused.value.code == "allowed_networks_invalid"
    assert [each.field for each in refused.value.violations] == ["allowedNetworks[1]", "allowedNetworks[2]"]
    with pytest.raises(InvalidArgumentError):
        await consumer("SetAllowedNetworks", key_id=created.key.key_id, allowed_networks=["10.0.0.1"] * 51)
    anywhere = await consumer("SetAllowedNetworks", key_id=created.key.key_id)
    assert list(anywhere.allowed_networks) == []


async def test_calls_are_bounded_for_one_of_the_keys_services(
    consumer: Any, grant: Any, new_key: Any, written: Any
) -> None:
    service_ids = [await grant(consumer), await grant(consumer)]
    created = await new_key(consumer, service_ids=service_ids)
    rules = [CallRule(methods=["GET"], path="/v1/*"), CallRule(path="/v2/orders")]
    wanted = {"key_id": created.key.key_id, "service_id": service_ids[0]}
    changed = await consumer("SetAllowedCalls", **wanted, allowed_calls=rules)
    [terms] = changed.service_terms
    assert (terms.service_id, list(terms.allowed_calls)) == (service_ids[0], rules)
    assert (await latest(written, created.secret)).service_terms == changed.service_terms
    with pytest.raises(InvalidArgumentError) as refused:
        await consumer("SetAllowedCalls", **wanted, allowed_calls=[rules[0], CallRule(path="/../x")])
    assert [each.field for each in refused.value.violations] == ["allowedCalls[1]"]
    with pytest.raises(FailedPreconditionError) as unassigned:
        await consumer("SetAllowedCalls", key_id=created.key.key_id, service_id=str(uuid7()))
    assert unassigned.value.code == "service_not_assigned"
    assert not (await consumer("SetAllowedCalls", **wanted)).service_terms


async def test_services_are_added_and_taken_and_bounds_of_the_rest_stay(
    consumer: Any, outsider: Any, grant: Any, new_key: Any, written: Any
) -> None:
    first, second, third = sorted([await grant(consumer) for _ in range(3)])
    created = await new_key(consumer, service_ids=[first, second])
    key_id = created.key.key_id
    rules = [CallRule(path="/v1")]
    await consumer("SetAllowedCalls", key_id=key_id, service_id=second, allowed_calls=rules)
    changed = await consumer("SetKeyServices", key_id=key_id, service_ids=[third, second])
    assert list(changed.service_ids) == [second, third]
    assert [each.service_id for each in changed.service_terms] == [second]
    assert list((await latest(written, created.secret)).service_ids) == [second, third]
    for foreign in (await grant(outsider), str(uuid7())):
        with pytest.raises(FailedPreconditionError) as refused:
            await consumer("SetKeyServices", key_id=key_id, service_ids=[second, foreign])
        assert refused.value.code == "service_not_granted"
    with pytest.raises(InvalidArgumentError):
        await consumer("SetKeyServices", key_id=key_id, service_ids=[])


async def test_a_rotated_key_has_two_secrets_for_the_overlap_and_keeps_all_else(
    consumer: Any, new_key: Any, gateway: Any, written: Any
) -> None:
    created = await new_key(consumer)
    await consumer("SetAllowedNetworks", key_id=created.key.key_id, allowed_networks=["192.0.2.0/24"])
    rotated = await consumer("RotateKey", key_id=created.key.key_id, overlap_minutes=90)
    key = rotated.key
    assert (key.key_id, key.service_ids, key.expires_at) == (
        created.key.key_id,
        created.key.service_ids,
        created.key.expires_at,
    )
    assert rotated.secret.startswith(key.key_prefix)
    assert key.previous_secret.key_prefix == created.key.key_prefix
    ends_at = from_timestamp(key.previous_secret.ends_at)
    assert timedelta(minutes=89) < ends_at - utc_now() <= timedelta(minutes=90)
    assert await consumer("GetKey", key_id=key.key_id) == key
    for secret, expires_at, prefix in (
        (rotated.secret, key.expires_at, key.key_prefix),
        (created.secret, key.previous_secret.ends_at, created.key.key_prefix),
    ):
        snapshot = await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(secret))
        assert snapshot == await latest(written, secret)
        assert (snapshot.key_id, snapshot.status, snapshot.expires_at) == (key.key_id, KEY_ACTIVE, expires_at)
        assert (snapshot.key_prefix, list(snapshot.allowed_networks)) == (prefix, ["192.0.2.0/24"])
    assert rotated.secret not in str(await written.everything())


async def test_without_overlap_and_by_a_second_rotation_the_old_secret_ends_at_once(
    consumer: Any, new_key: Any, gateway: Any, written: Any
) -> None:
    created = await new_key(consumer)
    key_id = created.key.key_id
    second = await consumer("RotateKey", key_id=key_id, overlap_minutes=1440)
    third = await consumer("RotateKey", key_id=key_id, overlap_minutes=10)
    fourth = await consumer("RotateKey", key_id=key_id)
    assert not fourth.key.HasField("previous_secret")
    now = to_timestamp(utc_now())
    assert now is not None
    for secret in (created.secret, second.secret, third.secret):
        told = await latest(written, secret)
        owned = await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(secret))
        assert told.expires_at.ToDatetime() <= now.ToDatetime()
        assert owned.expires_at == told.expires_at
    assert (await latest(written, fourth.secret)).expires_at == created.key.expires_at


async def test_the_overlap_can_be_ended(consumer: Any, new_key: Any, written: Any) -> None:
    created = await new_key(consumer)
    key_id = {"key_id": created.key.key_id}
    with pytest.raises(FailedPreconditionError) as none:
        await consumer("EndPreviousSecret", **key_id)
    assert none.value.code == "no_previous_secret"
    await consumer("RotateKey", **key_id, overlap_minutes=60)
    ended = await consumer("EndPreviousSecret", **key_id)
    assert not ended.HasField("previous_secret")
    assert from_timestamp((await latest(written, created.secret)).expires_at) <= utc_now()


async def test_revoking_and_disabling_reach_both_secrets(consumer: Any, new_key: Any, written: Any) -> None:
    created = await new_key(consumer)
    rotated = await consumer("RotateKey", key_id=created.key.key_id, overlap_minutes=60)
    for method in ("DisableKey", "RevokeKey"):
        changed = await consumer(method, key_id=created.key.key_id)
        for secret in (created.secret, rotated.secret):
            assert (await latest(written, secret)).status == changed.status


async def test_a_rotation_that_is_sent_twice_shows_its_secret_once(
    consumer: Any, new_key: Any, written: Any
) -> None:
    created = await new_key(consumer)
    wanted = {"key_id": created.key.key_id, "overlap_minutes": 5, "idempotency_key": "a"}
    first = await consumer("RotateKey", **wanted)
    again = await consumer("RotateKey", **wanted)
    assert (bool(first.secret), again.secret, again.key) == (True, "", first.key)
    assert await written.count("previous_secrets") == 1


async def test_a_blocked_consumer_gets_no_new_secret(
    consumer: Any, new_key: Any, apply_standing: Any
) -> None:
    created = await new_key(consumer)
    await apply_standing(consumer.user_id, STANDING_BLOCKED)
    with pytest.raises(PermissionDeniedError) as refused:
        await consumer("RotateKey", key_id=created.key.key_id)
    assert refused.value.code == "consumer_blocked"


@pytest.mark.parametrize("overlap_minutes", [-1, 1441])
async def test_an_overlap_lasts_a_day_at_most(overlap_minutes: int, consumer: Any, new_key: Any) -> None:
    created = await new_key(consumer)
    with pytest.raises(InvalidArgumentError):
        await consumer("RotateKey", key_id=created.key.key_id, overlap_minutes=overlap_minutes)


async def test_a_key_ends_after_days_or_at_a_fixed_time(consumer: Any, grant: Any) -> None:
    wanted = {"name": "ci", "service_ids": [await grant(consumer)]}
    until = utc_now().replace(microsecond=0) + timedelta(days=10, hours=3)
    created = await consumer("CreateKey", **wanted, expires_at=to_timestamp(until))
    assert (created.key.ttl_days, from_timestamp(created.key.expires_at)) == (0, until)
    assert await consumer("GetKey", key_id=created.key.key_id) == created.key
    hostile: list[dict[str, Any]] = [
        {},
        {"ttl_days": 3, "expires_at": to_timestamp(until)},
        {"expires_at": to_timestamp(utc_now() - timedelta(seconds=1))},
        {"expires_at": to_timestamp(utc_now() + timedelta(days=366))},
    ]
    for fields in hostile:
        with pytest.raises(InvalidArgumentError) as refused:
            await consumer("CreateKey", **wanted, **fields)
        assert refused.value.code == "key_expiry_invalid"


async def test_activity_is_refused_while_usage_svc_is_away_and_asked_of_own_keys_only(
    consumer: Any, outsider: Any, new_key: Any
) -> None:
    created = await new_key(consumer)
    with pytest.raises(UnavailableError):
        await consumer("BatchGetKeyActivity", key_ids=[created.key.key_id])
    # Nothing of it is the outsider's: nobody is asked.
    answer = await outsider("BatchGetKeyActivity", key_ids=[created.key.key_id])
    assert list(answer.activities) == []
