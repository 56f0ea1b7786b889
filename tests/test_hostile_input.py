"""Whatever is sent to REST or the gateway, the answer is a 4xx with a stable code, and nobody else's data."""

import asyncio
import json
import secrets
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.clock import utc_now
from ams_common.ids import uuid7
from ams_common.testing.tokens import TestIssuer
from ams_local.rest import Answer, People, Rest
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import Trade, new_service, open_trade
from support.upstream_api import Upstream
from yarl import URL

MEGABYTE = "x" * 1_000_000


@pytest.fixture(scope="module")
def opened(system: RunningSystem) -> tuple[Trade, Trade]:
    """Two merchants with two consumers, strangers to each other. Nobody listens at their base URL."""
    return asyncio.run(_open(system))


async def _open(system: RunningSystem) -> tuple[Trade, Trade]:
    async with aiohttp.ClientSession() as http:
        people = system.people(http)
        first = await open_trade(people, ADMIN_EMAIL, "http://127.0.0.1:9/v1", secrets.token_hex(4))
        return first, await open_trade(people, ADMIN_EMAIL, "http://127.0.0.1:9/v1", secrets.token_hex(4))


@pytest.fixture
def trades(opened: tuple[Trade, Trade], rest: Rest) -> tuple[Trade, Trade]:
    """Those, on this test's connections."""
    first, second = (
        replace(
            trade,
            admin=rest.as_(trade.admin.token),
            merchant=rest.as_(trade.merchant.token),
            consumer=rest.as_(trade.consumer.token),
        )
        for trade in opened
    )
    return first, second


def is_problem(answer: Answer, status: int, code: str) -> None:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    assert (answer.status, answer.body["code"]) == (status, code), answer.text


async def test_what_is_not_json_is_refused(rest: Rest, http: aiohttp.ClientSession) -> None:
    url = f"{rest.url}/api/v1/auth/sign-in"
    headers = {"Content-Type": "application/json"}
    for body in (
        b"{",
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"email": }',
        b'"' + b"[" * 5000,
        b"[" * 5000,
        b"1e999999",
    ):
        async with http.post(url, data=body, headers=headers) as response:
            problem = json.loads(await response.text())
            assert 400 <= response.status < 500, body
            assert problem["code"] in ("json_invalid", "invalid_argument"), body


async def test_unknown_fields_and_wrong_types_are_named(trades: tuple[Trade, Trade]) -> None:
    merchant = trades[0].merchant
    good = new_service("https://api.example")
    for wrong in (
        {"surprise": 1},
        {"name": 5},
        {"type": "SPACESHIP"},
        {"tags": "maps"},
        {"rateLimitPerMinute": "many"},
        {"rateLimitPerMinute": 1.5},
        {"rateLimitPerMinute": 10**30},
        {"price": {"components": "free"}},
    ):
        is_problem(await merchant.ask("POST", "/services", good | wrong), 400, "invalid_argument")
    for wrong in ({"name": MEGABYTE}, {"description": "x" * 200_000}):
        answer = await merchant.ask("POST", "/services", good | wrong)
        assert (answer.status, answer.body["code"]) in ((413, "body_too_large"), (400, "invalid_argument"))
        assert len(answer.text) < 2000


@pytest.mark.parametrize(
    "amount", [{"currencyCode": "XXX", "units": "1"}, {"currencyCode": "EUR", "units": "-1"}]
)
async def test_a_price_that_cannot_be_billed_is_refused(
    trades: tuple[Trade, Trade], amount: dict[str, str]
) -> None:
    components = [{"meter": "REQUESTS", "perUnit": {"amount": amount}}]
    price = {"currencyCode": amount["currencyCode"], "components": components}
    body = new_service("https://api.example", price=price)
    is_problem(await trades[0].merchant.ask("POST", "/services", body), 400, "price_invalid")


async def test_what_is_somebody_elses_is_not_there(trades: tuple[Trade, Trade]) -> None:
    mine, theirs = trades
    service, key = f"/services/{theirs.service['serviceId']}", f"/keys/{theirs.key['keyId']}"
    patch = {"updateMask": "description", "description": "mine now"}
    asked: dict[str, list[tuple[str, str, object]]] = {
        "service_not_found": [
            ("GET", service, None),
            ("PATCH", service, patch),
            ("POST", f"{service}:submit", {}),
        ],
        "key_not_found": [("GET", key, None), ("POST", f"{key}:revoke", {})],
    }
    for code, requests in asked.items():
        caller = mine.merchant if code == "service_not_found" else mine.consumer
        for method, path, body in requests:
            is_problem(await caller.ask(method, path, body), 404, code)
    usage = await mine.consumer.get("/consumer/usage", serviceId=theirs.service["serviceId"])
    assert usage["points"] == []
    usage = await mine.merchant.get("/merchant/usage", serviceId=theirs.service["serviceId"])
    assert usage["points"] == []
    ungranted = await mine.consumer.ask(
        "POST", "/keys", {"name": "k", "serviceIds": [theirs.service["serviceId"]], "ttlDays": 1}
    )
    is_problem(ungranted, 409, "service_not_granted")


@pytest.mark.parametrize(
    "bad_id", ["1", "%00", "..", "' OR 1=1 --", "00000000-0000-0000-0000-00000000000g", "x" * 5000]
)
async def test_an_id_that_is_none_is_refused(trades: tuple[Trade, Trade], bad_id: str) -> None:
    answer = await trades[0].consumer.ask("GET", f"/keys/{bad_id}")
    assert 400 <= answer.status < 500
    assert answer.body["code"] in ("invalid_argument", "route_not_found")


async def test_tokens_that_are_expired_or_somebody_elses_work_are_refused(rest: Rest) -> None:
    stranger = TestIssuer()
    expired = stranger.user_token(uuid7(), CONSUMER, now=utc_now() - timedelta(hours=1))
    for token in ("x", "a.b.c", expired, stranger.user_token(uuid7(), CONSUMER)):
        is_problem(await rest.as_(token).ask("GET", "/keys"), 401, "token_invalid")
    is_problem(await rest.ask("GET", "/keys"), 401, "sign_in_required")


async def test_each_role_stays_in_its_own_rooms(trades: tuple[Trade, Trade]) -> None:
    trade = trades[0]
    for caller, path in (
        (trade.consumer, "/merchants"),
        (trade.consumer, "/merchant/services"),
        (trade.merchant, "/keys"),
        (trade.merchant, "/audit-records"),
        (trade.admin, "/consumer/usage"),
    ):
        is_problem(await caller.ask("GET", path), 403, "role_required")


async def test_the_gateway_refuses_what_is_too_large_or_climbs_out(
    people: People, system: RunningSystem, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))
    headers = {"Authorization": f"Bearer {trade.secret}", "X-AMS-Service": trade.service["slug"]}
    url = f"{system.gateway_url}/api/consume"
    async with http.post(url, headers=headers | {"X-Large": MEGABYTE[:100_000]}) as response:
        assert response.status in (400, 431)
    climbing = URL(f"{url}/{trade.service['slug']}/%2e%2e/%2e%2e/admin", encoded=True)
    async with http.get(climbing, headers=headers) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (400, "path_invalid")
    assert upstream.received == []
