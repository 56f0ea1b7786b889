"""What a consumer has let its calls cost, and what a merchant lets one consumer call, hold end to end."""

from dataclasses import dataclass

import pytest
from aiohttp import ClientPayloadError, ClientSession
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams.catalog.v1.pricing_pb2 import (
    REQUESTS,
    RESPONSE_MEGABYTES,
    ChargeRule,
    PerUnit,
    Price,
    PriceComponent,
)
from ams.keys.v1.events_pb2 import SpendCap
from ams_common.testing.eventually import eventually
from ams_gateway.testing.merchants import Answerer, Merchant, respond_with
from ams_gateway.testing.running import GrantedKey, Running
from google.type.money_pb2 import Money
from redis.asyncio import Redis

# 0.25 EUR a call.
PRICE = Price(
    currency_code="EUR",
    components=[
        PriceComponent(meter=REQUESTS, per_unit=PerUnit(amount=Money(currency_code="EUR", nanos=250_000_000)))
    ],
)
# 0.25 EUR for a kilobyte of an answer's body, and nothing for a call.
PRICE_OF_BYTES = Price(
    currency_code="EUR",
    components=[PriceComponent(meter=RESPONSE_MEGABYTES, per_unit=PerUnit(amount=Money(units=250)))],
    charge_rule=ChargeRule(is_client_error_free=True),
)
FAILS = respond_with(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")


def cap_of(units: int, scope: SpendCap.Scope.ValueType = SpendCap.KEY, currency: str = "EUR") -> SpendCap:
    return SpendCap(scope=scope, amount=Money(currency_code=currency, units=units))


@dataclass
class Called:
    status: int
    code: str
    headers: dict[str, str]


async def call(http: ClientSession, gateway: Running, granted: GrantedKey) -> Called:
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        await answer.read()
        is_problem = answer.content_type == "application/problem+json"
        code = (await answer.json(content_type=None))["code"] if is_problem else ""
        return Called(answer.status, code, {name.lower(): value for name, value in answer.headers.items()})


async def statuses(http: ClientSession, gateway: Running, granted: GrantedKey, calls: int) -> list[int]:
    return [(await call(http, gateway, granted)).status for _ in range(calls)]


@pytest.mark.parametrize("scope", [SpendCap.KEY, SpendCap.PROJECT, SpendCap.CONSUMER])
async def test_a_cap_refuses_what_would_cost_more_and_nothing_before(
    gateway: Running,
    http: ClientSession,
    granted: GrantedKey,
    merchant: Merchant,
    scope: SpendCap.Scope.ValueType,
) -> None:
    project_id = granted.consumer_id[::-1]
    await granted.write_key(spend_caps=[cap_of(1, scope)], project_id=project_id)
    await granted.write_service(price=PRICE)
    assert await statuses(http, gateway, granted, 4) == [200] * 4
    refused = await call(http, gateway, granted)
    assert (refused.status, refused.code) == (402, "spend_cap_reached")
    assert int(refused.headers["retry-after"]) >= 1
    assert len(merchant.requests) == len(gateway.events()) == 4


async def test_all_keys_of_a_consumer_share_its_cap_and_other_consumers_dont(
    gateway: Running, http: ClientSession, granted: GrantedKey, redis: "Redis"
) -> None:
    await granted.write_key(spend_caps=[cap_of(1, SpendCap.CONSUMER)])
    await granted.write_service(price=PRICE)
    second, stranger = (
        GrantedKey(redis, granted.base_url, service_id=granted.service_id, slug=granted.slug)
        for _ in range(2)
    )
    second.consumer_id = granted.consumer_id
    for each in (second, stranger):
        await each.write_key(spend_caps=[cap_of(1, SpendCap.CONSUMER)])
    assert await statuses(http, gateway, granted, 2) + await statuses(http, gateway, second, 2) == [200] * 4
    assert await statuses(http, gateway, granted, 1) + await statuses(http, gateway, second, 1) == [402] * 2
    assert await statuses(http, gateway, stranger, 4) == [200] * 4


async def test_what_isnt_charged_doesnt_use_a_cap_up(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    """5xx of the upstream, also when it is cut short, no answer at all, and calls in another currency."""
    await granted.write_key(spend_caps=[cap_of(1), cap_of(0, SpendCap.CONSUMER, "USD")])
    await granted.write_service(price=PRICE)
    answer, merchant.answer = merchant.answer, FAILS
    assert await statuses(http, gateway, granted, 8) == [500] * 8
    merchant.answer = respond_with(b"no answer at all\r\n\r\n")
    assert await statuses(http, gateway, granted, 4) == [502] * 4
    merchant.answer = respond_with(b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\ncut", then_close=True)
    for _ in range(4):
        with pytest.raises(ClientPayloadError):
            await call(http, gateway, granted)
    merchant.answer = answer
    assert await statuses(http, gateway, granted, 5) == [200] * 4 + [402]


async def test_an_answer_that_breaks_off_uses_a_cap_up_for_it_is_charged(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_key(spend_caps=[cap_of(1)])
    await granted.write_service(price=PRICE)
    merchant.answer = respond_with(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", then_close=True)
    for _ in range(4):
        with pytest.raises(ClientPayloadError):
            await call(http, gateway, granted)
    assert await statuses(http, gateway, granted, 1) == [402]


@pytest.mark.parametrize("quota", ["quota_per_day", "quota_per_month"])
async def test_a_quota_refuses_with_its_own_code_and_says_until_when(
    gateway: Running, http: ClientSession, granted: GrantedKey, quota: str
) -> None:
    await granted.write_service(forwarding=ForwardingSettings(**{quota: 3}))  # type: ignore[arg-type]
    name = quota.removeprefix("quota_per_")
    for left in (2, 1, 0):
        answered = await call(http, gateway, granted)
        assert answered.status == 200
        assert answered.headers["ratelimit"].startswith(f'"{name}";r={left};t=')
        assert answered.headers["ratelimit-policy"].startswith(f'"{name}";q=3')
    refused = await call(http, gateway, granted)
    assert (refused.status, refused.code) == (429, "quota_exceeded")
    assert refused.headers["ratelimit"] == f'"{name}";r=0;t={refused.headers["retry-after"]}'


async def test_answers_say_what_they_cost_where_the_service_wants_it(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_service(price=PRICE, forwarding=ForwardingSettings(shows_costs=True))
    merchant.answer = respond_with(
        b"HTTP/1.1 200 OK\r\nX-AMS-Cost-Estimate: 0 EUR\r\nContent-Length: 0\r\n\r\n"
    )
    shown = [(await call(http, gateway, granted)).headers for _ in range(3)]
    assert [headers["x-ams-cost-estimate"] for headers in shown] == ["0.25 EUR"] * 3
    # Of the calls before, and with this one.
    assert [headers["x-ams-month-estimate"] for headers in shown] == ["0.25 EUR", "0.50 EUR", "0.75 EUR"]


async def test_answers_say_nothing_of_costs_where_nobody_asked(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    await granted.write_key(spend_caps=[cap_of(1)])
    await granted.write_service(price=PRICE)
    headers = (await call(http, gateway, granted)).headers
    assert not [name for name in headers if name.startswith("x-ams-")]


async def test_test_keys_are_limited_apart_and_no_cap_counts_them(
    gateway: Running, http: ClientSession, granted: GrantedKey, redis: "Redis"
) -> None:
    test = GrantedKey(redis, granted.base_url, service_id=granted.service_id, slug=granted.slug)
    test.consumer_id = granted.consumer_id
    await test.write_key(is_test=True, spend_caps=[cap_of(0, SpendCap.CONSUMER)])
    await granted.write_key(spend_caps=[cap_of(1, SpendCap.CONSUMER)])
    await granted.write_service(price=PRICE, rate_limit_per_minute=3)
    assert await statuses(http, gateway, test, 4) == [200] * 3 + [429]
    assert await statuses(http, gateway, granted, 4) == [200] * 3 + [429]
    assert [event.is_test for event in gateway.events()] == [True] * 3 + [False] * 3


def answer_of(size_bytes: int, status: bytes = b"200 OK") -> Answerer:
    head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status, size_bytes)
    return respond_with(head + b"x" * size_bytes)


async def test_bytes_are_charged_once_they_are_known_and_the_next_call_is_refused(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_key(spend_caps=[cap_of(1)])
    await granted.write_service(price=PRICE_OF_BYTES)
    merchant.answer = answer_of(100_000, b"404 Not Found")
    assert await statuses(http, gateway, granted, 3) == [404] * 3
    merchant.answer = answer_of(2_000)
    assert await statuses(http, gateway, granted, 2) == [200] * 2
    # They came to 1 EUR, and the least that a call is taken for is above that.

    async def is_refused() -> bool:
        return (await call(http, gateway, granted)).status == 402

    await eventually(is_refused)
    assert await statuses(http, gateway, granted, 3) == [402] * 3


async def test_the_cost_that_is_shown_has_the_bytes_that_the_head_tells_of(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_service(price=PRICE_OF_BYTES, forwarding=ForwardingSettings(shows_costs=True))
    merchant.answer = answer_of(3_000)
    assert (await call(http, gateway, granted)).headers["x-ams-cost-estimate"] == "0.75 EUR"
    merchant.answer = answer_of(3_000, b"404 Not Found")
    assert (await call(http, gateway, granted)).headers["x-ams-cost-estimate"] == "0.00 EUR"
    merchant.answer = answer_of(0)

    async def month_estimate() -> bool:
        shown = (await call(http, gateway, granted)).headers["x-ams-month-estimate"]
        # With what calls are taken for before their bytes are known.
        return shown.startswith("0.75000000")

    await eventually(month_estimate)


async def test_a_free_service_has_no_cap_to_reach(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    await granted.write_key(spend_caps=[cap_of(0)])
    await granted.write_service(price=Price(currency_code="EUR"))
    assert await statuses(http, gateway, granted, 3) == [200] * 3
