"""The pages of keys and access in a browser without scripts, each by whom it is for and by others."""

import re
import secrets
from urllib.parse import urlencode

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People, Rest
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import Trade, open_trade


class Market:
    """A trade, and everybody's browser."""

    def __init__(self, trade: Trade, browsers: dict[str, Browser], pseudonym: str) -> None:
        self.trade = trade
        self.consumer, self.merchant = browsers["consumer"], browsers["merchant"]
        self.admin, self.outsider = browsers["admin"], browsers["outsider"]
        self.key_path = f"/dashboard/api-keys/{trade.key['keyId']}"
        self.service_id = trade.service["serviceId"]
        self.consumer_path = f"/merchant/consumers/{pseudonym}"


@pytest.fixture
async def market(system: RunningSystem, http: aiohttp.ClientSession) -> Market:
    tag = secrets.token_hex(4)
    people = system.people(http)
    trade = await open_trade(people, ADMIN_EMAIL, "https://api.example.com", tag)
    await people.register_consumer(f"outsider-{tag}@example.com")
    browsers = {
        name: await _browse(system, people, email)
        for name, email in (
            ("consumer", f"consumer-{tag}@example.com"),
            ("merchant", f"merchant-{tag}@example.com"),
            ("outsider", f"outsider-{tag}@example.com"),
            ("admin", ADMIN_EMAIL),
        )
    }
    listed = await trade.merchant.get(f"/merchant/services/{trade.service['serviceId']}/consumers")
    return Market(trade, browsers, listed["consumers"][0]["consumer"])


async def _browse(system: RunningSystem, people: People, email: str) -> Browser:
    browser = Browser(system.port("ams-bff"))
    assert browser.post("/login", email=email).location == "/login/code"
    code = await people.mail.next_code(email)
    assert browser.post("/login/code", "/login/code", code=code).status == 303
    return browser


def _done(page: Page) -> str:
    """Where a form that was accepted leads."""
    assert page.status == 303, page.text[:2000]
    return page.location


async def test_a_key_is_renamed_bounded_disabled_and_enabled(market: Market) -> None:
    consumer, path, settings = market.consumer, market.key_path, f"{market.key_path}/settings"
    assert (
        _done(consumer.post(f"{settings}/name", settings, name="Web shop", description="Orders")) == settings
    )
    refused = consumer.post(f"{settings}/networks", settings, allowed_networks="192.0.2.0/24\nnonsense")
    assert refused.status == 400
    assert "nonsense" in refused.text
    assert (
        _done(consumer.post(f"{settings}/networks", settings, allowed_networks="192.0.2.0/24, ::1"))
        == settings
    )
    calls = f"{settings}/calls/{market.service_id}"
    refused = consumer.post(calls, settings, allowed_calls="GET ../x")
    assert refused.status == 400
    assert "must begin with a slash" in refused.text
    assert _done(consumer.post(calls, settings, allowed_calls="GET,POST /v1/*\n/v2")) == settings
    shown = consumer.get(path).text
    for told in ("Web shop", "Orders", "192.0.2.0/24, ::1/128", "GET,POST /v1/*", "ANY /v2"):
        assert told in shown
    assert "GET,POST /v1/*\nANY /v2" in consumer.get(settings).text
    assert _done(consumer.post(f"{path}/disable", path)) == path
    assert "Calls with it are refused until it is enabled." in consumer.get(path).text
    assert "Disabled" in consumer.get("/dashboard/api-keys?status=disabled").text
    assert _done(consumer.post(f"{path}/enable", path)) == path


async def test_a_rotated_key_shows_its_secret_once_and_its_overlap(market: Market) -> None:
    consumer, path = market.consumer, market.key_path
    form = consumer.get(f"{path}/rotate")
    sent = urlencode(
        {
            "csrf": form.hidden("csrf"),
            "idempotency_key": form.hidden("idempotency_key"),
            "overlap_minutes": "60",
        }
    )
    rotated = consumer.send("POST", f"{path}/rotate", sent)
    assert rotated.status == 200
    [secret] = set(re.findall(r"ams_live_[0-9A-Za-z]{46}", rotated.text))
    again = consumer.send("POST", f"{path}/rotate", sent)
    assert (again.status, again.location) == (303, path)
    shown = consumer.get(path).text
    assert secret not in shown
    assert "Earlier secret" in shown
    assert _done(consumer.post(f"{path}/end-previous-secret", path)) == path
    assert "Earlier secret" not in consumer.get(path).text


@pytest.mark.parametrize("below", ["", "/settings", "/rotate"])
async def test_a_keys_pages_are_its_owners(market: Market, below: str) -> None:
    path = market.key_path + below
    assert market.consumer.get(path).status == 200
    assert market.outsider.get(path).status == 404
    assert market.merchant.get(path).status == 403


async def test_a_merchant_limits_blocks_revokes_and_ends(market: Market) -> None:
    merchant, path = market.merchant, f"{market.consumer_path}/services/{market.service_id}"
    assert market.service_id in merchant.get(market.consumer_path).text
    assert merchant.post(f"{path}/limits", path, per_minute="many").status == 400
    assert _done(merchant.post(f"{path}/limits", path, per_minute="5", per_day="", per_month="")) == path
    assert "5 a minute" in market.consumer.get(market.key_path).text
    assert _done(merchant.post(f"{path}/block", path, reason="scrapes")) == path
    assert "scrapes" in merchant.get(path).text
    assert "has blocked you" in market.consumer.get(market.key_path).text
    assert _done(merchant.post(f"{path}/unblock", path)) == path
    [key] = set(re.findall(r"key_[a-z2-7]{16}", merchant.get(path).text))
    assert _done(merchant.post(f"{path}/keys/{key}/revoke", path)) == path
    assert "taken this key’s right" in market.consumer.get(market.key_path).text
    assert _done(merchant.post(f"{path}/end", path, reason="no longer offered")) == path
    shown = market.consumer.get(f"/dashboard/services/{market.service_id}").text
    assert "Access has ended" in shown
    assert "no longer offered" in shown
    assert market.consumer.get(path).status == 403


async def test_a_merchant_decides_where_an_admin_lets_it(market: Market, people: People) -> None:
    service_path = f"/admin/services/{market.service_id}"
    assert (
        _done(market.admin.post(f"{service_path}/access-policy", service_path, merchant_approves="true"))
        == service_path
    )
    asking: Rest = await people.register_consumer(f"asking-{secrets.token_hex(4)}@example.com")
    asked = await asking.post("/access-requests", serviceId=market.service_id, note="for my shop")
    listed = market.merchant.get("/merchant/access-requests")
    assert "for my shop" in listed.text
    path = f"/merchant/access-requests/{asked['accessRequestId']}/approve"
    assert _done(market.merchant.post(path, "/merchant/access-requests")) == "/merchant/access-requests"
    granted = await asking.get("/consumer/grants")
    assert [each["serviceId"] for each in granted["grants"]] == [market.service_id]


async def test_a_consumer_gives_access_back_and_an_admin_ends_it(market: Market) -> None:
    trade, path = market.trade, f"/dashboard/services/{market.service_id}"
    [grant] = (await trade.consumer.get("/consumer/grants"))["grants"]
    ended = market.consumer.post(f"{path}/end-access", path, grant_id=grant["grantId"], reason="done")
    assert _done(ended) == path
    assert "You ended it" in market.consumer.get(path).text
    asked = await trade.consumer.post("/access-requests", serviceId=market.service_id)
    withdrawn = market.consumer.post(f"{path}/withdraw", path, access_request_id=asked["accessRequestId"])
    assert _done(withdrawn) == path
    asked = await trade.consumer.post("/access-requests", serviceId=market.service_id)
    await trade.admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
    grants = (await trade.consumer.get("/consumer/grants", onlyInForce="true"))["grants"]
    admin_path = f"/admin/consumers/{trade.key['consumerId']}"
    shown = market.admin.get(admin_path).text
    assert trade.key["keyPrefix"] in shown
    ended = market.admin.post(f"{admin_path}/grants/{grants[0]['grantId']}/end", admin_path, reason="abuse")
    assert _done(ended) == admin_path
    assert "abuse" in market.consumer.get(path).text


async def test_anybody_hands_a_key_in_and_its_owner_sees_where_it_was(
    market: Market, system: RunningSystem
) -> None:
    stranger = Browser(system.port("ams-bff"))
    fields = {"found_at": "https://paste.example/1", "exposed_since": ""}
    assert stranger.post("/found-key", secret="", **fields).status == 400
    thanked = stranger.post("/found-key", secret=market.trade.secret, **fields)
    assert "Thank you" in thanked.text

    async def is_shown() -> bool:
        return "https://paste.example/1" in market.consumer.get(market.key_path).text

    await eventually(is_shown)
    assert "Calls with it are refused until it is enabled." in market.consumer.get(market.key_path).text
    choice = "/dashboard/api-keys/found"
    assert _done(market.consumer.post(choice, choice, choice="tell")) == choice
    assert re.search(r'value="tell"[^>]* checked', market.consumer.get(choice).text)


async def test_a_code_hosts_report_needs_a_signature(
    http: aiohttp.ClientSession, system: RunningSystem
) -> None:
    url = f"{system.rest_url}/api/v1/secret-scanning"
    body = '[{"token": "x", "type": "ams", "url": "https://example.com", "source": "content"}]'
    async with http.post(url, data=body) as unsigned:
        assert (unsigned.status, (await unsigned.json())["code"]) == (400, "invalid_argument")
    headers = {"Github-Public-Key-Identifier": "k", "Github-Public-Key-Signature": "c2ln"}
    async with http.post(url, data=body, headers=headers) as off:
        # No code host is known to this system.
        assert (off.status, (await off.json())["code"]) == (409, "secret_scanning_off")
    async with http.post(url, data=b"x" * 1_000_001, headers=headers) as large:
        assert large.status == 413
