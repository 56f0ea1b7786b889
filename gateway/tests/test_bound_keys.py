"""What bounds a key: networks and calls by its owner, limits by a service's merchant."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from ams.keys.v1 import events_pb2 as keys
from ams_common.errors import SettingsError
from ams_gateway.settings import Settings
from ams_gateway.testing.consumers import connect, head
from ams_gateway.testing.merchants import Merchant
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway, settings_for

HERE = ["127.0.0.0/8", "::1"]
ELSEWHERE = ["198.51.100.0/24", "2001:db8::/32"]


async def outcome(gateway: Running, granted: GrantedKey, *lines: str, **call: str) -> str:
    """The code of the refusal; "" for a call that was forwarded."""
    method = call.get("method", "POST")
    body = b"" if method == "GET" else b"x"
    lines = (*lines, f"Content-Length: {len(body)}") if body else lines
    async with connect(gateway) as consumer:
        consumer.send(head(granted, *lines, **call), body)
        answer = await consumer.answer(method)
    if answer.status == 200:
        return ""
    return answer.body.decode().partition('"code": "')[2].partition('"')[0]


async def test_a_disabled_key_is_refused(gateway: Running, granted: GrantedKey) -> None:
    await granted.write_key(status=keys.KEY_DISABLED)
    assert await outcome(gateway, granted) == "key_disabled"


@pytest.mark.parametrize(
    ("networks", "code"), [([], ""), (HERE, ""), (ELSEWHERE, "address_not_allowed"), (HERE + ELSEWHERE, "")]
)
async def test_a_key_is_used_from_its_networks_only(
    gateway: Running, granted: GrantedKey, merchant: Merchant, networks: list[str], code: str
) -> None:
    await granted.write_key(allowed_networks=networks)
    assert await outcome(gateway, granted) == code
    assert len(merchant.requests) == (not code)


async def test_without_proxies_nobody_can_say_where_they_are(gateway: Running, granted: GrantedKey) -> None:
    await granted.write_key(allowed_networks=ELSEWHERE)
    for spelling in ("X-Forwarded-For", "x-forwarded-for", "Forwarded", "X-Real-IP"):
        assert await outcome(gateway, granted, f"{spelling}: 198.51.100.7") == "address_not_allowed"


async def test_behind_a_trusted_proxy_its_word_counts_and_nothing_left_of_it(
    settings: Settings, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_key(allowed_networks=ELSEWHERE)
    async with serve_gateway(replace(settings, trusted_proxies=1)) as gateway:
        expected = {
            ("X-Forwarded-For: 198.51.100.7",): "",
            ("X-Forwarded-For: 203.0.113.9, 198.51.100.7",): "",
            ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 2001:db8::7"): "",
            ("x-forwarded-for:198.51.100.7 ",): "",
            ("X-Forwarded-For: 198.51.100.7, 203.0.113.9",): "address_not_allowed",
            ("X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 203.0.113.9"): "address_not_allowed",
            ("X-Forwarded-For: nonsense",): "address_not_allowed",
            (): "address_not_allowed",
        }
        assert {lines: await outcome(gateway, granted, *lines) for lines in expected} == expected
    # What it said goes no further.
    assert "198.51.100.7" not in repr(merchant.requests)


@pytest.mark.parametrize("proxies", [-1, 11])
def test_too_many_proxies_are_no_setting(proxies: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GATEWAY_TRUSTED_PROXIES"):
        settings_for("redis://127.0.0.1:1", "127.0.0.1:1", tmp_path, trusted_proxies=proxies)


def terms(granted: GrantedKey, *rules: tuple[list[str], str], **limits: Any) -> dict[str, Any]:
    allowed = [keys.CallRule(methods=methods, path=path) for methods, path in rules]
    bounded = keys.ServiceTerms(service_id=granted.service_id, allowed_calls=allowed, **limits)
    return {"service_terms": [bounded]}


async def test_only_allowed_calls_are_forwarded(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_key(**terms(granted, (["GET"], "/v1/*"), (["POST"], "/v1/orders")))
    expected = {
        ("GET", "/v1/weather"): "",
        ("GET", "/v1/weather?day=../admin"): "",
        ("GET", "/v1/%77eather"): "",
        ("POST", "/v1/orders"): "",
        ("POST", "/v1/orders/"): "call_not_allowed",
        ("POST", "/v1/weather"): "call_not_allowed",
        ("DELETE", "/v1/orders"): "call_not_allowed",
        ("GET", "/v2/weather"): "call_not_allowed",
        ("GET", "/V1/weather"): "call_not_allowed",
        ("GET", "/v1"): "call_not_allowed",
        ("GET", ""): "call_not_allowed",
        ("GET", "/v1/../admin"): "call_not_allowed",
        ("GET", "/v1/%2e%2e/admin"): "call_not_allowed",
        ("GET", "/v1/..%2fadmin"): "call_not_allowed",
        ("GET", "/v1/..;/admin"): "call_not_allowed",
        ("GET", "/v1//admin"): "call_not_allowed",
    }
    found = {
        (method, path): await outcome(gateway, granted, method=method, path=path) for method, path in expected
    }
    assert found == expected
    assert len(merchant.requests) == 4


async def test_a_method_that_is_claimed_elsewhere_does_not_reach_the_merchant(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_key(**terms(granted, (["POST"], "/*")))
    for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        assert await outcome(gateway, granted, f"{name}: DELETE", path="/orders/1") == ""
    assert "DELETE" not in repr([received.headers for received in merchant.requests])


async def test_a_merchants_limit_for_one_consumer_holds_beside_the_services(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    await granted.write_service(rate_limit_per_minute=100)
    await granted.write_key(**terms(granted, per_minute=3))
    statuses = []
    for _ in range(5):
        async with http.post(f"{gateway.url}/api/consume", data=b"x", headers=granted.headers) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 200, 200, 429, 429]


async def test_bounds_of_another_service_do_not_matter(gateway: Running, granted: GrantedKey) -> None:
    other = keys.ServiceTerms(service_id="other", allowed_calls=[keys.CallRule(path="/x")], per_minute=1)
    await granted.write_key(service_terms=[other])
    assert [await outcome(gateway, granted) for _ in range(3)] == ["", "", ""]
