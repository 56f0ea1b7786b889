"""What a merchant sets for its service, the gateway does: whose calls a limit counts together, what of a
call is kept, and how AMS signs in at the merchant's API."""

from base64 import b64encode
from dataclasses import replace

import pytest
from aiohttp import ClientSession
from ams.catalog.v1.forwarding_pb2 import (
    LIMIT_SCOPE_UNSPECIFIED,
    PER_CONSUMER,
    PER_KEY,
    ForwardingSettings,
    LimitScope,
    SealedCredential,
)
from ams.catalog.v1.metadata_pb2 import TracingSettings
from ams_common import apikeys
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.testing.eventually import eventually
from ams_gateway.testing.merchants import Merchant
from ams_gateway.testing.running import GrantedKey, Running

SEALER = Sealer(DEVELOPMENT_SEALING_KEYS)
LIMITED = 3


async def _status(http: ClientSession, gateway: Running, granted: GrantedKey) -> int:
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers, data=b"hello") as answer:
        await answer.read()
        return answer.status


async def _limited(granted: GrantedKey, limit: str, scope: LimitScope.ValueType) -> None:
    if limit == "minute":
        forwarding = ForwardingSettings(limit_scope=scope)
        await granted.write_service(rate_limit_per_minute=LIMITED, forwarding=forwarding)
    else:
        forwarding = ForwardingSettings(limit_scope=scope)
        setattr(forwarding, f"quota_per_{limit}", LIMITED)
        await granted.write_service(forwarding=forwarding)


@pytest.mark.parametrize("limit", ["minute", "day", "month"])
@pytest.mark.parametrize("scope", [LIMIT_SCOPE_UNSPECIFIED, PER_CONSUMER, PER_KEY])
async def test_a_limit_counts_all_of_a_consumers_calls_or_each_keys(
    gateway: Running, http: ClientSession, granted: GrantedKey, limit: str, scope: LimitScope.ValueType
) -> None:
    another = replace(granted, key=apikeys.generate())
    await another.write_key()
    await _limited(granted, limit, scope)
    keys = [granted, another] * LIMITED
    statuses = [await _status(http, gateway, key) for key in keys]
    if scope == PER_KEY:
        assert statuses == [200] * (2 * LIMITED)
    else:
        assert statuses == [200] * LIMITED + [429] * LIMITED
    assert [await _status(http, gateway, key) for key in (granted, another)] == [429, 429]


async def test_a_change_of_whose_calls_are_counted_is_followed(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    another = replace(granted, key=apikeys.generate())
    await another.write_key()
    await _limited(granted, "minute", PER_CONSUMER)
    assert [await _status(http, gateway, granted) for _ in range(LIMITED + 1)] == [200] * LIMITED + [429]
    assert await _status(http, gateway, another) == 429
    await _limited(granted, "minute", PER_KEY)

    async def passes() -> bool:
        return await _status(http, gateway, another) == 200

    await eventually(passes)


@pytest.mark.parametrize(
    ("tracing", "sizes"),
    [
        (TracingSettings(), (5, 5)),
        (TracingSettings(skips_request_size=True), (0, 5)),
        (TracingSettings(skips_response_size=True), (5, 0)),
        (TracingSettings(skips_request_size=True, skips_response_size=True), (0, 0)),
    ],
)
async def test_only_what_is_traced_stands_in_the_event_of_a_call_which_is_always_counted(
    gateway: Running,
    http: ClientSession,
    granted: GrantedKey,
    tracing: TracingSettings,
    sizes: tuple[int, int],
) -> None:
    await granted.write_service(tracing=tracing)
    assert await _status(http, gateway, granted) == 200
    (event,) = gateway.events()
    assert (event.request_payload_size_bytes, event.response_payload_size_bytes) == sizes
    assert (event.service_id, event.status_code) == (granted.service_id, 200)


@pytest.mark.parametrize("value", [b"Basic " + b64encode("user:p\u00e4ss".encode()), b"Bearer t0ken.=="])
async def test_ams_signs_in_at_the_merchants_api_and_the_consumer_never_does(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant, value: bytes
) -> None:
    credential = SealedCredential(header_name="Authorization", sealed_value=SEALER.seal(value))
    await granted.write_service(credential=credential)
    headers = {"X-API-Key": granted.key.secret, "X-AMS-Service": granted.slug, "Authorization": "Basic eDp5"}
    async with http.post(f"{gateway.url}/api/consume", headers=headers) as answer:
        assert answer.status == 200
        assert value.decode() not in str(answer.headers) + await answer.text()
    sent = [text for name, text in merchant.requests[0].headers if name.lower() == "authorization"]
    assert sent == [value.decode()]
