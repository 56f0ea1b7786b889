"""From an invitation to an invoice, once through the running system by REST and the gateway only."""

import secrets
import time
from datetime import UTC, datetime

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People, Rest
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import Trade, consume, open_trade
from support.upstream_api import Upstream

STOPS_WITHIN_S = 1.0


@pytest.fixture
async def trade(people: People, upstream: Upstream) -> Trade:
    return await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))


async def test_from_invitation_to_draft_invoice(
    people: People, upstream: Upstream, system: RunningSystem, http: aiohttp.ClientSession, rest: Rest
) -> None:
    trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, "journey")
    service_id, slug = trade.service["serviceId"], trade.service["slug"]

    listed = await rest.get("/marketplace/services", query="journey")
    assert [service["serviceId"] for service in listed["services"]] == [service_id]
    assert listed["services"][0]["merchantName"] == "Maps journey"
    assert "secret" not in await trade.consumer.get(f"/keys/{trade.key['keyId']}")

    good = await consume(http, system.gateway_url, trade.secret, service_id)
    assert (good.status, good.body, good.headers["X-Merchant"]) == (200, {"answer": 42}, "yes")
    proxied = f"{system.gateway_url}/api/consume/{slug}/cities/Z%C3%BCrich%2FWest?limit=3"
    async with http.put(proxied, headers={"X-API-Key": trade.secret}, data=b"body") as response:
        assert response.status == 200
    assert [(r.method, r.path) for r in upstream.received] == [
        ("POST", "/v1"),
        ("PUT", "/v1/cities/Z%C3%BCrich%2FWest?limit=3"),
    ]
    assert trade.secret not in str(upstream.received)

    async def counted() -> bool:
        report = await trade.consumer.get("/consumer/usage", granularity="HOUR")
        return bool(report["total"]["requests"] == "2")

    await eventually(counted, timeout_s=3)
    for viewer, path in ((trade.merchant, "/merchant/usage"), (trade.admin, "/admin/usage")):
        report = await viewer.get(path, serviceId=service_id, groupBy="SERVICE")
        assert (report["total"]["requests"], report["points"][0]["group"]) == ("2", service_id)
    by_key = await trade.merchant.get("/merchant/usage", serviceId=service_id, groupBy="KEY")
    assert by_key["points"][0]["group"].startswith("key_")  # the merchant's own form of it
    assert trade.key["keyPrefix"] not in str(by_key)
    assert trade.key["consumerId"] not in str(by_key)

    period = f"{datetime.now(UTC):%Y-%m}"

    async def billed() -> bool:
        spend = await trade.consumer.get("/consumer/spend")
        return [line["quantity"] for line in spend["lines"]] == ["2"]

    await eventually(billed, timeout_s=5)

    async def drafted() -> bool:
        drafts = await trade.merchant.get("/merchant/invoices", period=period)
        return [draft["lines"][0]["quantity"] for draft in drafts.get("invoices", [])] == ["2"]

    await eventually(drafted, timeout_s=5)
    merchant_id = trade.service["merchantId"]
    (invoice,) = (await trade.admin.get("/invoices", merchantId=merchant_id))["invoices"]
    (line,) = invoice["lines"]
    assert (line["quantity"], line["amount"]["nanos"]) == ("2", 10_000_000)
    assert (invoice["status"], invoice["subtotal"]["nanos"]) == ("INVOICE_DRAFT", 10_000_000)
    assert invoice["commission"]["nanos"] + invoice["total"]["nanos"] == 10_000_000
    (theirs,) = (await trade.merchant.get("/merchant/invoices", period=period))["invoices"]
    assert theirs["invoiceId"] == invoice["invoiceId"]
    assert trade.key["consumerId"] not in str(theirs)


async def test_the_five_denials_in_the_order_of_the_prd(
    people: People, trade: Trade, upstream: Upstream, system: RunningSystem, http: aiohttp.ClientSession
) -> None:
    service_id = trade.service["serviceId"]
    other = await open_trade(
        people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4), rateLimitPerMinute=2
    )
    other_id = other.service["serviceId"]
    await trade.consumer.post(f"/keys/{trade.key['keyId']}:revoke")

    async def code(secret: str, service: str) -> tuple[int, str]:
        answer = await consume(http, system.gateway_url, secret, service)
        assert answer.headers["Content-Type"] == "application/problem+json"
        return answer.status, answer.body["code"]

    async def revoked() -> bool:
        return await code(trade.secret, other_id) == (403, "key_revoked")

    assert await code("", other_id) == (401, "key_missing")
    assert await code("ams_live_nonsense", other_id) == (401, "key_invalid")
    await eventually(revoked, timeout_s=STOPS_WITHIN_S)  # before what it may call
    assert await code(other.secret, service_id) == (403, "service_not_granted")
    assert await code(other.secret, "no-such-service") == (403, "service_not_granted")
    before = len(upstream.received)
    statuses = [(await consume(http, system.gateway_url, other.secret, other_id)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    limited = await consume(http, system.gateway_url, other.secret, other_id)
    assert (limited.status, limited.body["code"]) == (429, "rate_limited")
    assert 0 < int(limited.headers["Retry-After"]) <= 61
    assert len(upstream.received) - before == statuses.count(200)
    merchant_id = other.service["merchantId"]
    await other.admin.post(f"/merchants/{merchant_id}:suspend", reason="test")

    async def suspended() -> bool:
        answer = await consume(http, system.gateway_url, other.secret, other_id)
        return (answer.status, answer.body["code"]) == (502, "merchant_suspended")  # before the rate limit

    await eventually(suspended, timeout_s=5)


async def stops(
    http: aiohttp.ClientSession, system: RunningSystem, trade: Trade, status: int, code: str
) -> float:
    """Seconds until calls are refused like that."""
    started_s = time.monotonic()

    async def refused() -> bool:
        answer = await consume(http, system.gateway_url, trade.secret, trade.service["serviceId"])
        return answer.status == status and answer.body["code"] == code

    await eventually(refused, timeout_s=STOPS_WITHIN_S)
    return time.monotonic() - started_s


async def works(http: aiohttp.ClientSession, system: RunningSystem, trade: Trade) -> bool:
    return (await consume(http, system.gateway_url, trade.secret, trade.service["serviceId"])).status == 200


async def audit_actions(admin: Rest, resource_id: str) -> set[str]:
    records = await admin.get("/audit-records", resourceId=resource_id)
    return {record["action"] for record in records["auditRecords"]}


async def test_revoking_the_key_stops_calls_within_a_second(
    trade: Trade, system: RunningSystem, http: aiohttp.ClientSession
) -> None:
    assert await works(http, system, trade)
    await trade.consumer.post(f"/keys/{trade.key['keyId']}:revoke")
    await stops(http, system, trade, 403, "key_revoked")


async def test_blocking_the_consumer_stops_calls_within_a_second_and_unblocking_lets_them_go_on(
    trade: Trade, system: RunningSystem, http: aiohttp.ClientSession
) -> None:
    assert await works(http, system, trade)
    consumer = f"/consumers/{trade.key['consumerId']}"
    await trade.admin.post(f"{consumer}:block", reason="test")
    await stops(http, system, trade, 403, "consumer_blocked")
    await trade.admin.post(f"{consumer}:unblock", reason="test")
    await eventually(lambda: works(http, system, trade))


async def test_suspending_the_merchant_stops_calls_within_a_second_and_hides_the_service(
    trade: Trade, system: RunningSystem, http: aiohttp.ClientSession, rest: Rest
) -> None:
    assert await works(http, system, trade)
    merchant = f"/merchants/{trade.service['merchantId']}"
    await trade.admin.post(f"{merchant}:suspend", reason="test")
    await stops(http, system, trade, 502, "merchant_suspended")
    service = f"/marketplace/services/{trade.service['slug']}"
    assert (await rest.ask("GET", service)).status == 404
    await trade.admin.post(f"{merchant}:reinstate", reason="test")
    await eventually(lambda: works(http, system, trade))
    assert (await rest.ask("GET", service)).status == 200


async def test_a_changed_rate_limit_reaches_the_gateway(
    trade: Trade, system: RunningSystem, http: aiohttp.ClientSession
) -> None:
    service_id = trade.service["serviceId"]
    await trade.merchant.patch(
        f"/services/{service_id}", updateMask="rateLimitPerMinute", rateLimitPerMinute=1
    )
    # A limit is what consumers chose the service by: an admin agrees first.
    [revision] = [
        each
        for each in await trade.admin.list_all("/revisions", "revisions")
        if each["serviceId"] == service_id
    ]
    path = f"/services/{service_id}/revisions/{revision['revisionId']}"
    await trade.admin.post(f"{path}:approve", version=revision["version"])
    await stops(http, system, trade, 429, "rate_limited")


async def test_every_change_of_the_story_stands_in_the_audit_log(trade: Trade) -> None:
    await trade.consumer.post(f"/keys/{trade.key['keyId']}:revoke")
    service_id, key_id = trade.service["serviceId"], trade.key["keyId"]

    async def all_there() -> bool:
        service = await audit_actions(trade.admin, service_id)
        key = await audit_actions(trade.admin, key_id)
        return service >= {"service.create", "service.submit", "service.approve"} and key >= {
            "key.create",
            "key.revoke",
        }

    await eventually(all_there)
    everything = await trade.admin.get("/audit-records", pageSize="200")
    actions = {record["action"] for record in everything["auditRecords"]}
    assert actions >= {
        "invite.create",
        "sign_in.complete",
        "access.request",
        "access.approve",
    }
    assert trade.secret not in str(everything)
