"""Test keys and spend caps by REST, as scripts set them."""

import secrets

import pytest
from ams_local.rest import People
from support.running_system import ADMIN_EMAIL
from support.trade import Trade, open_trade
from support.upstream_api import Upstream

TEN_EUROS = {"currencyCode": "EUR", "units": "10", "nanos": 0}


@pytest.fixture
async def trade(people: People, upstream: Upstream) -> Trade:
    return await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))


async def test_a_capped_test_key_is_made_recapped_and_revoked(trade: Trade) -> None:
    made = await trade.consumer.post(
        "/keys",
        name="trial",
        serviceIds=[trade.service["serviceId"]],
        ttlDays=1,
        isTest=True,
        spendCap=TEN_EUROS,
    )
    key = f"/keys/{made['key']['keyId']}"
    assert made["secret"].startswith("ams_test_")
    assert (made["key"]["isTest"], made["key"]["spendCap"]) == (True, TEN_EUROS)
    half = {"currencyCode": "EUR", "units": "0", "nanos": 500_000_000}
    assert (await trade.consumer.post(f"{key}:setSpendCap", amount=half))["spendCap"] == half
    assert "spendCap" not in await trade.consumer.post(f"{key}:setSpendCap")
    # Everything is up, so the gateways know at once, and there is no time to name.
    assert "effectiveBy" not in await trade.consumer.post(f"{key}:revoke")


async def test_a_consumer_caps_all_its_keys_and_takes_the_cap_away(trade: Trade) -> None:
    path = "/consumer/spend-cap"
    assert await trade.consumer.get(path) == {}
    assert await trade.consumer.post(path, amount=TEN_EUROS) == {"amount": TEN_EUROS}
    assert await trade.consumer.get(path) == {"amount": TEN_EUROS}
    assert await trade.consumer.post(path) == {}
    assert await trade.consumer.get(path) == {}


async def test_what_is_no_amount_is_refused_with_the_field(trade: Trade) -> None:
    refused = await trade.consumer.ask(
        "POST", "/consumer/spend-cap", {"amount": {"currencyCode": "EUR", "units": "0"}}
    )
    assert (refused.status, refused.body["code"]) == (400, "spend_cap_invalid")
    assert [error["field"] for error in refused.body["errors"]] == ["amount"]
