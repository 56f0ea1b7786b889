"""A merchant can tell a call of AMS from anybody's: by its own credential, and by the signature."""

import importlib.util
import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession
from ams.catalog.v1.forwarding_pb2 import SealedCredential, SealedSigningKey
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.testing.eventually import eventually
from ams_gateway.testing.consumers import connect, head
from ams_gateway.testing.merchants import Merchant, RecordedRequest
from ams_gateway.testing.running import GrantedKey, Running
from cryptography.fernet import Fernet

SEALER = Sealer(DEVELOPMENT_SEALING_KEYS)
SNIPPET = Path(__file__).parents[2] / "docs/verify_signature.py"


@pytest.fixture
def snippet() -> ModuleType:
    """What merchants are given to check calls with."""
    spec = importlib.util.spec_from_file_location("verify_signature", SNIPPET)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SECRETS = {}
    assert isinstance(module, ModuleType)
    return module


def signing_key(snippet: ModuleType, secret: bytes) -> SealedSigningKey:
    """A new key, which the merchant has put among those that it knows."""
    key_id = str(uuid4())
    snippet.SECRETS[key_id] = b64encode(secret).decode()
    return SealedSigningKey(signing_key_id=key_id, sealed_secret=SEALER.seal(secret))


def credential(value: bytes, sealer: Sealer = SEALER) -> SealedCredential:
    return SealedCredential(header_name="X-Upstream-Token", sealed_value=sealer.seal(value))


def is_from_ams(snippet: ModuleType, received: RecordedRequest, **changes: str) -> bool:
    headers: Mapping[str, str] = dict(received.headers)
    said = {"method": received.method, "target": received.target} | changes
    return bool(snippet.is_from_ams(said["method"], said["target"], headers))


async def test_the_merchants_snippet_takes_every_call_and_no_changed_one(
    gateway: Running, granted: GrantedKey, merchant: Merchant, snippet: ModuleType
) -> None:
    await granted.write_service(signing_key=signing_key(snippet, b"s" * 32))
    async with connect(gateway) as consumer:
        for method, path in (("GET", "/a%2Fb?x=1&y=%20"), ("POST", ""), ("DELETE", "/x?"), ("GET", "?a=?b")):
            consumer.send(head(granted, "Content-Length: 0", method=method, path=path))
            assert (await consumer.answer(method)).status == 200
        consumer.send(head(granted, "X-Request-Id: mine-1", "Content-Length: 5"), b"hello")
        await consumer.answer()
    assert len(merchant.requests) == 5
    for received in merchant.requests:
        assert is_from_ams(snippet, received)
        assert not is_from_ams(snippet, received, method="PUT")
        assert not is_from_ams(snippet, received, target=received.target + "x")
    # Repeats have ids of their own, so that a merchant can tell a copy.
    assert len({received.header("signature") for received in merchant.requests}) == 5


async def test_the_merchant_learns_the_next_key_after_rotation_and_takes_every_call(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant, snippet: ModuleType
) -> None:
    async def used() -> str:
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            assert answer.status == 200
        assert is_from_ams(snippet, merchant.requests[-1])
        return (merchant.requests[-1].header("signature-input") or "").split('keyid="')[1][:36]

    old, new = signing_key(snippet, b"o" * 32), signing_key(snippet, b"n" * 100)
    told_later = snippet.SECRETS.pop(new.signing_key_id)
    await granted.write_service(signing_key=old)
    assert await used() == old.signing_key_id
    new.starts_at.FromSeconds(int(time.time()) + 3)
    await granted.write_service(signing_key=old, next_signing_key=new)
    # The gateway has heard of the next one, and signs with the old one until its time.
    assert await used() == old.signing_key_id
    snippet.SECRETS[new.signing_key_id] = told_later

    async def is_new() -> bool:
        return await used() == new.signing_key_id

    await eventually(is_new)
    assert time.time() >= new.starts_at.seconds
    # As its owner writes it from then on; before the gateway has heard of that, it signs with the same.
    del snippet.SECRETS[old.signing_key_id]
    new.ClearField("starts_at")
    assert await used() == new.signing_key_id
    await granted.write_service(signing_key=new)
    assert await used() == new.signing_key_id


async def test_the_merchants_credential_is_on_every_call_and_nobody_else_can_say_it(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_service(credential=credential(b"secret of the merchant"))
    forged = (
        "X-Upstream-Token: forged",
        "x-upstream-token: forged",
        "X_Upstream_Token: forged",
        "X-Upstream_Token: forged",
        "Connection: keep-alive, X-Upstream-Token",
    )
    async with connect(gateway) as consumer:
        consumer.send(head(granted, *forged, method="GET"))
        answer = await consumer.answer("GET")
        assert answer.status == 200 and "secret of the merchant" not in repr(answer)
    (received,) = merchant.requests
    assert received.header("x-upstream-token") == "secret of the merchant"
    assert "forged" not in repr(received)


async def test_authorization_may_be_the_merchants_own(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    own = SealedCredential(header_name="Authorization", sealed_value=SEALER.seal(b"Bearer upstream"))
    await granted.write_service(credential=own)
    async with connect(gateway) as consumer:
        consumer.send(head(granted, "Authorization: Basic Y29uc3VtZXI6", method="GET"))
        assert (await consumer.answer("GET")).status == 200
    values = [value for name, value in merchant.requests[0].headers if name == "authorization"]
    assert values == ["Bearer upstream"]


async def test_a_consumers_own_signature_is_never_taken_for_ours(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    async with connect(gateway) as consumer:
        lines = ("Signature: ams=:AAAA:", 'Signature-Input: ams=("@method")', "Signature_Input: x")
        consumer.send(head(granted, *lines, method="GET"))
        assert (await consumer.answer("GET")).status == 200
    assert not [name for name, _ in merchant.requests[0].headers if name.startswith("signature")]


@pytest.mark.parametrize("sealed", ["credential", "signing key"])
async def test_what_cant_be_unsealed_stops_the_call_before_the_merchant(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant, sealed: str
) -> None:
    """The merchant would have to refuse it, or worse, would let it in."""
    unknown = Sealer([Fernet.generate_key().decode()])
    if sealed == "credential":
        await granted.write_service(credential=credential(b"x", unknown))
    else:
        key = SealedSigningKey(signing_key_id=str(uuid4()), sealed_secret=unknown.seal(b"s" * 32))
        await granted.write_service(signing_key=key)
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        assert answer.status == 502
        problem = await answer.json(content_type="application/problem+json")
        assert problem["code"] == "upstream_misconfigured"
    assert merchant.requests == [] and gateway.events() == []
    await granted.write_service(credential=credential(b"x"))

    async def is_served() -> bool:
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            return answer.status == 200

    await eventually(is_served)
