import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.errors import UnauthenticatedError
from ams_common.ids import uuid7
from ams_common.sealing import SealingError
from ams_common.tokens import JwksKeySource, TokenVerifier, sign_user_token
from cryptography.fernet import Fernet
from identity_svc.keyring import Keyring
from identity_svc.rpc import IdentityService
from identity_svc.vault import Vault


def key_ids(keyring: Keyring) -> list[str]:
    return [key["kid"] for key in json.loads(keyring.jwks())["keys"]]


@pytest.fixture
def keyring(servicer: IdentityService) -> Keyring:
    return servicer.keyring


async def test_the_published_set_verifies_what_is_signed(identity: Any) -> None:
    async def fetch() -> str:
        answer: pb.GetJwksResponse = await identity.stub.GetJwks(pb.GetJwksRequest())
        return answer.jwks_json

    session = await identity.register_consumer("cora@example.com")
    caller = await TokenVerifier(JwksKeySource(fetch)).verify(session.access_token)
    assert str(caller.user_id) == session.user.user_id
    assert all("d" not in key for key in json.loads(await fetch())["keys"])  # RFC 8037: the private half


async def test_a_new_key_is_published_before_it_signs_and_the_old_until_its_tokens_are_dead(
    keyring: Keyring, clock: Any
) -> None:
    old = keyring.current().key_id
    clock.advance(timedelta(days=29))
    await keyring.refresh()
    assert key_ids(keyring) == [old]
    clock.advance(timedelta(days=1, seconds=1))
    await keyring.refresh()
    [_, new] = key_ids(keyring)
    assert keyring.current().key_id == old
    clock.advance(timedelta(minutes=5))
    assert keyring.current().key_id == new
    clock.advance(timedelta(minutes=14))
    await keyring.refresh()
    assert key_ids(keyring) == [old, new]
    clock.advance(timedelta(minutes=2))
    await keyring.refresh()
    assert key_ids(keyring) == [new]


async def test_a_token_of_the_old_key_stays_good_until_it_expires(keyring: Keyring, clock: Any) -> None:
    old = keyring.current()
    clock.advance(timedelta(days=31))
    await keyring.refresh()
    clock.advance(timedelta(minutes=5))
    await keyring.refresh()
    assert keyring.current() != old
    assert await keyring.find(old.key_id) is not None


async def test_a_foreign_key_is_no_key(keyring: Keyring, issuer: Any) -> None:
    forged = issuer.user_token(uuid7(), ADMIN)
    with pytest.raises(UnauthenticatedError):
        await TokenVerifier(keyring).verify(forged)


async def test_processes_that_start_together_share_one_key(servicer: IdentityService, clock: Any) -> None:
    async with servicer.database.change_by_system("test", audited=False) as change:
        await change.connection.execute("DELETE FROM signing_keys")
    rings = [Keyring(servicer.database, servicer.vault, clock) for _ in range(4)]
    await asyncio.gather(*(ring.refresh() for ring in rings))
    assert len({ring.jwks() for ring in rings}) == 1 and len(key_ids(rings[0])) == 1
    token = sign_user_token(rings[0].current(), uuid7(), [ADMIN], ADMIN, clock())
    assert await TokenVerifier(rings[1]).verify(token)


async def test_private_keys_are_sealed_and_open_only_with_the_right_key(
    servicer: IdentityService, encryption_key: str, clock: Any
) -> None:
    async with servicer.database.connection() as connection:
        [row] = await connection.fetch("SELECT sealed_private_key FROM signing_keys")
    private = servicer.keyring.current().private_key.private_bytes_raw()
    assert private not in row["sealed_private_key"] and private.hex() not in row["sealed_private_key"].hex()
    other = Fernet.generate_key().decode()
    with pytest.raises(SealingError):
        await Keyring(servicer.database, Vault([other]), clock).refresh()
    rotated = Keyring(servicer.database, Vault([other, encryption_key]), clock)
    await rotated.refresh()
    assert rotated.jwks() == servicer.keyring.jwks()


async def test_a_new_key_stands_in_the_audit_log(identity: Any) -> None:
    [record] = await identity.audit_records("signing_key.rotate")
    assert (record.actor, record.resource_id) == ("system", identity.servicer.keyring.current().key_id)
