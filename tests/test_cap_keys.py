"""Test keys and spend caps by REST, as scripts set them, and what calls get of them."""

import secrets

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import Trade, consume, open_trade
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


async def test_calls_beyond_a_keys_cap_are_refused_until_it_is_raised(
    trade: Trade, upstream: Upstream, system: RunningSystem, http: aiohttp.ClientSession
) -> None:
    service_id = trade.service["serviceId"]
    # A call costs half a cent.
    one_cent = {"currencyCode": "EUR", "units": "0", "nanos": 10_000_000}
    made = await trade.consumer.post(
        "/keys", name="careful", serviceIds=[service_id], ttlDays=1, spendCap=one_cent
    )
    calls = [await consume(http, system.gateway_url, made["secret"], service_id) for _ in range(3)]
    assert [call.status for call in calls] == [200, 200, 402]
    assert calls[-1].body["code"] == "spend_cap_reached"
    assert len(upstream.received) == 2
    # The consumer's other keys are not concerned.
    assert (await consume(http, system.gateway_url, trade.secret, service_id)).status == 200
    await trade.consumer.post(f"/keys/{made['key']['keyId']}:setSpendCap", amount=TEN_EUROS)

    async def passes() -> bool:
        return (await consume(http, system.gateway_url, made["secret"], service_id)).status == 200

    await eventually(passes)


async def test_members_keys_share_a_projects_cap_and_its_owners_own_key_does_not(
    trade: Trade, people: People, system: RunningSystem, http: aiohttp.ClientSession
) -> None:
    service_id, email = trade.service["serviceId"], f"manager-{secrets.token_hex(4)}@example.com"
    manager = await people.register_consumer(email, "Manuela")
    project_id = (await trade.consumer.post("/projects", name="Maps"))["projectId"]
    path = f"/projects/{project_id}/spend-cap"
    invited = await trade.consumer.post(
        f"/projects/{project_id}/invitations", email=email, role="PROJECT_MANAGER"
    )
    await manager.post(f"/project-invitations/{invited['invitationId']}:accept")
    asked = await trade.consumer.post_eventually(
        "/access-requests", serviceId=service_id, projectId=project_id
    )
    await trade.admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
    # Two calls, at half a cent each.
    one_cent = {"currencyCode": "EUR", "units": "0", "nanos": 10_000_000}
    capped = await manager.post_eventually(path, amount=one_cent)
    assert await trade.consumer.get(path) == capped
    assert (capped["projectId"], capped["amount"]) == (project_id, one_cent)
    fields = {"serviceIds": [service_id], "ttlDays": 1, "projectId": project_id}
    shared = [
        (await member.post_eventually("/keys", name="shared", **fields))["secret"]
        for member in (trade.consumer, manager)
    ]
    calls = [await consume(http, system.gateway_url, secret, service_id) for secret in (*shared, *shared)]
    assert [call.status for call in calls] == [200, 200, 402, 402]
    assert {call.body["code"] for call in calls[2:]} == {"spend_cap_reached"}
    assert (await consume(http, system.gateway_url, trade.secret, service_id)).status == 200
    assert "amount" not in await manager.post(path)


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
