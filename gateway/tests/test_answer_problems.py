"""The problems that stop a call, in the order of FR2-MERCH-03, as a consumer sees them."""

import pytest
from aiohttp import ClientSession
from ams.catalog.v1 import events_pb2 as catalog
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams_common import apikeys
from ams_common.testing.eventually import eventually
from ams_gateway.testing.merchants import Merchant
from ams_gateway.testing.running import GrantedKey, Running


async def call(http: ClientSession, gateway: Running, headers: dict[str, str]) -> tuple[int, str]:
    async with http.post(f"{gateway.url}/api/consume", data=b"x", headers=headers) as answer:
        if answer.content_type != "application/problem+json":
            return answer.status, ""
        problem = await answer.json()
        assert problem["status"] == answer.status
        assert set(problem) == {"type", "title", "status", "detail", "code", "request_id"}
        assert problem["request_id"] == answer.headers["X-Request-Id"]
        assert (answer.status == 401) == ("WWW-Authenticate" in answer.headers)
        assert (answer.status == 429) == ("Retry-After" in answer.headers)
        return answer.status, problem["code"]


async def test_each_fault_is_named_before_the_ones_that_come_after_it(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    """Everything is wrong at first; one fault after the other is put right."""
    bad_key = {"status": keys.KEY_REVOKED, "expires_in_s": -5, "service_ids": [str(granted.consumer_id)]}
    await granted.write_key(**bad_key, consumer_standing=identity.STANDING_BLOCKED)
    bad_service = {"status": catalog.SERVICE_SUSPENDED, "base_url": "ftp://nowhere"}
    await granted.write_service(**bad_service, merchant_standing=identity.STANDING_SUSPENDED)
    nothing = {"X-AMS-Service": granted.slug}
    unknown = {"Authorization": f"Bearer {apikeys.generate().secret}"}
    only_key = {"Authorization": f"Bearer {granted.key.secret}"}

    assert await call(http, gateway, {}) == (401, "key_missing")
    assert await call(http, gateway, nothing | {"Authorization": "Bearer junk"}) == (401, "key_invalid")
    assert await call(http, gateway, nothing | unknown) == (401, "key_invalid")
    assert await call(http, gateway, granted.headers) == (403, "key_revoked")
    await granted.write_key(
        **(bad_key | {"status": keys.KEY_ACTIVE}), consumer_standing=identity.STANDING_BLOCKED
    )
    assert await settled(http, gateway, granted.headers, "key_revoked") == (403, "key_expired")
    await granted.write_key(service_ids=bad_key["service_ids"], consumer_standing=identity.STANDING_BLOCKED)
    assert await settled(http, gateway, granted.headers, "key_expired") == (403, "consumer_blocked")
    await granted.write_key(service_ids=bad_key["service_ids"])
    assert await settled(http, gateway, granted.headers, "consumer_blocked") == (403, "service_not_granted")
    assert await call(http, gateway, only_key) == (400, "service_required")
    await granted.write_key()
    assert await settled(http, gateway, granted.headers, "service_not_granted") == (502, "merchant_suspended")
    await granted.write_service(**bad_service)
    assert await settled(http, gateway, granted.headers, "merchant_suspended") == (502, "service_inactive")
    await granted.write_service(base_url="ftp://nowhere")
    assert await settled(http, gateway, granted.headers, "service_inactive") == (
        502,
        "upstream_misconfigured",
    )
    await granted.write_service(rate_limit_per_minute=1)
    assert await settled(http, gateway, granted.headers, "upstream_misconfigured") == (200, "")
    assert await call(http, gateway, granted.headers) == (429, "rate_limited")

    assert len(merchant.requests) == 1
    assert len(gateway.events()) == 1


async def settled(
    http: ClientSession, gateway: Running, headers: dict[str, str], before: str
) -> tuple[int, str]:
    """The answer once the change has come through: long before anything cached would have aged."""

    async def changed() -> tuple[int, str] | None:
        answer = await call(http, gateway, headers)
        return answer if answer[1] != before else None

    answer = await eventually(changed, timeout_s=5)
    assert answer is not None
    return answer


async def test_an_unknown_service_is_answered_like_one_that_isnt_granted(
    gateway: Running, http: ClientSession, granted: GrantedKey, redis: object
) -> None:
    other = await GrantedKey(granted.redis, granted.base_url).write()
    answers = [
        await call(http, gateway, granted.headers | {"X-AMS-Service": name})
        for name in ("no-such-service", other.slug, other.service_id, "../x", "ü")
    ]
    assert set(answers) == {(403, "service_not_granted")}


async def test_a_service_goes_by_id_and_by_slug(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    for name in (granted.service_id, granted.slug, granted.slug.upper()):
        assert await call(http, gateway, granted.headers | {"X-AMS-Service": name}) == (200, "")


async def test_the_limits_headers_tell_what_is_left(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    await granted.write_service(rate_limit_per_minute=2)
    left = []
    for _ in range(3):
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            assert answer.headers["RateLimit-Policy"] == '"minute";q=2;w=60'
            left.append((answer.status, answer.headers["RateLimit"].split(";t=")[0]))
    assert left == [(200, '"minute";r=1'), (200, '"minute";r=0'), (429, '"minute";r=0')]


async def test_only_post_is_taken_without_a_path(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    async with http.get(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("change", ["key", "service"])
async def test_a_change_takes_effect_at_once(
    gateway: Running, http: ClientSession, granted: GrantedKey, change: str
) -> None:
    assert await call(http, gateway, granted.headers) == (200, "")
    if change == "key":
        await granted.write_key(status=keys.KEY_REVOKED)
    else:
        await granted.write_service(merchant_standing=identity.STANDING_SUSPENDED)
    status, code = await settled(http, gateway, granted.headers, "")
    assert code == ("key_revoked" if change == "key" else "merchant_suspended")
    assert status in (403, 502)
