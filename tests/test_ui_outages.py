"""What the pages do while a service behind them is away: they show what they can, lose nothing that was
typed, and promise nothing that isn't so."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html import unescape
from urllib.parse import urlencode, urlsplit

import pytest
from ams_local.rest import People
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import Trade, open_trade, typed_price
from support.upstream_api import Upstream

Lacking = Callable[..., int]
_NOBODY = "127.0.0.1:1"
_KEYS = "/dashboard/api-keys"


@pytest.fixture
def lacking(system: RunningSystem) -> Iterator[Lacking]:
    """`lacking("usage")`: the port of a BFF that can't reach these services. It knows the same sessions."""
    with ExitStack() as stack:

        def start(*services: str) -> int:
            url = urlsplit(stack.enter_context(system.another_bff(*services)))
            assert url.port is not None
            return url.port

        yield start


@pytest.fixture
async def trade(people: People, upstream: Upstream) -> Trade:
    return await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))


async def consumer_of(trade: Trade, system: RunningSystem, people: People) -> Browser:
    return await sign_in(system, people, (await trade.consumer.get("/me"))["email"])


def at(port: int, browser: Browser) -> Browser:
    """The same person at another BFF."""
    return Browser(port, dict(browser.cookies))


def typed_in(page: Page) -> list[tuple[str, str]]:
    """The hidden fields of the form that sends again what was sent."""
    form = page.text.partition("Send it again")[0].rpartition("<form")[2]
    return [
        (name, unescape(value))
        for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
    ]


async def test_without_usage_and_billing_every_other_page_is_served_and_says_what_is_missing(
    lacking: Lacking, trade: Trade, system: RunningSystem, people: People
) -> None:
    port, service_id = lacking("usage", "billing"), trade.service["serviceId"]
    consumer_id = (await trade.consumer.get("/me"))["userId"]
    merchant_email = (await trade.merchant.get("/me"))["email"]
    pages = [
        (
            await consumer_of(trade, system, people),
            ["/dashboard", f"{_KEYS}/{trade.key['keyId']}", f"/dashboard/services/{service_id}"],
        ),
        (
            await sign_in(system, people, merchant_email),
            ["/merchant", "/merchant/services", f"/merchant/services/{service_id}"],
        ),
        (
            await sign_in(system, people, ADMIN_EMAIL),
            [
                "/admin",
                f"/admin/services/{service_id}",
                f"/admin/merchants/{trade.service['merchantId']}",
                f"/admin/consumers/{consumer_id}",
            ],
        ),
    ]
    for browser, paths in pages:
        for path in paths:
            page = at(port, browser).get(path)
            assert (page.status, "Not everything can be shown right now" in page.text) == (200, True), path
            assert "Not everything can be shown" not in browser.get(path).text, path


async def test_without_billing_usage_is_shown_and_spend_has_its_gap(
    lacking: Lacking, trade: Trade, system: RunningSystem, people: People
) -> None:
    port, reader = lacking("billing"), await consumer_of(trade, system, people)
    for path in (
        "/dashboard",
        "/dashboard/usage",
        "/dashboard/usage?group=key&from=2026-01-01&to=2026-02-01",
        f"{_KEYS}/{trade.key['keyId']}",
        f"/dashboard/services/{trade.service['serviceId']}",
    ):
        page = at(port, reader).get(path)
        assert (page.status, "Not everything can be shown right now" in page.text) == (200, True), path
        assert "an’t be told right now" in page.text, path
        whole = reader.get(path)
        assert "an’t be told right now" not in whole.text, path
    assert at(port, reader).get("/dashboard/usage/table.csv").status == 200


async def test_a_leaked_key_is_revoked_while_usage_and_catalog_are_away(
    lacking: Lacking, trade: Trade, system: RunningSystem, people: People
) -> None:
    browser = at(lacking("usage", "catalog"), await consumer_of(trade, system, people))
    path = f"{_KEYS}/{trade.key['keyId']}"
    page = browser.get(path)
    assert page.status == 200
    assert "Usage can’t be shown right now" in page.text
    assert "Withdrawn service" not in page.text
    assert browser.post(f"{path}/revoke", path, confirm="laptop").location == path
    assert (await trade.consumer.get(f"/keys/{trade.key['keyId']}"))["status"] == "KEY_REVOKED"


def _new_key(trade: Trade, page: Page) -> list[tuple[str, str]]:
    return [
        ("csrf", page.hidden("csrf")),
        ("idempotency_key", page.hidden("idempotency_key")),
        ("name", "Kept <name>"),
        ("description", "Two\nlines"),
        ("service_ids", trade.service["serviceId"]),
        ("ttl_days", "30"),
    ]


@pytest.mark.parametrize("away", ["keys", "catalog"])
async def test_a_form_that_cannot_be_served_is_kept_and_can_be_sent_again(
    away: str, lacking: Lacking, trade: Trade, system: RunningSystem, people: People
) -> None:
    browser = await consumer_of(trade, system, people)
    sent = _new_key(trade, browser.get(f"{_KEYS}/new"))
    lame = at(lacking(away), browser)
    referrer = {"Referer": f"http://127.0.0.1:{lame.port}{_KEYS}/new"}
    failed = lame.send("POST", _KEYS, urlencode(sent), referrer)
    assert failed.status == 503
    assert "may not have been done" in failed.text
    assert "is lost" not in failed.text
    assert f'href="{_KEYS}/new"' in failed.text
    assert len((await trade.consumer.get("/keys"))["keys"]) == 1  # none was made, whose secret nobody saw
    again = typed_in(failed)
    assert again == sent
    made = browser.send("POST", _KEYS, urlencode(again))
    assert (made.status, "ams_live_" in made.text) == (200, True)


async def test_where_the_form_can_be_shown_it_is_with_what_was_typed(
    lacking: Lacking, trade: Trade, system: RunningSystem, people: People
) -> None:
    merchant = await sign_in(system, people, (await trade.merchant.get("/me"))["email"])
    page = "/merchant/services/new"
    fields = {"type": "API", "name": "Typed <here>", "description": "Kept", **typed_price("0.5")}
    answer = at(lacking("catalog"), merchant).post("/merchant/services", page, **fields)
    assert answer.status == 503
    assert "What you typed is still here" in answer.text
    assert 'value="Typed &lt;here&gt;"' in answer.text
    assert "data-dirty" in answer.text  # leaving it is asked about


async def test_a_failed_action_offers_no_link_that_only_a_form_may_use(
    lacking: Lacking, trade: Trade, system: RunningSystem, people: People
) -> None:
    browser = await consumer_of(trade, system, people)
    path = f"{_KEYS}/{trade.key['keyId']}"
    token = browser.get(path).hidden("csrf")
    lame = at(lacking("keys"), browser)
    failed = lame.send("POST", f"{path}/revoke", urlencode({"csrf": token, "confirm": "laptop"}))
    assert failed.status == 503
    assert f'href="{path}/revoke"' not in failed.text
    assert f'action="{path}/revoke"' in failed.text


async def test_a_script_gets_a_message_in_place_of_a_page(
    lacking: Lacking, trade: Trade, system: RunningSystem, people: People
) -> None:
    port, script = lacking("catalog"), {"HX-Request": "true"}
    for path in ("/marketplace?q=geo", "/marketplace/nothing-like-it"):
        part = Browser(port).get(path, **script)
        assert part.status == 503
        assert "not reachable" in part.text
        assert "<main" not in part.text
        assert "hx-retarget" not in part.headers
    admin = await sign_in(system, people, ADMIN_EMAIL)
    token = admin.get("/admin").hidden("csrf")
    body = urlencode({"csrf": token, "decision": "approve"})
    decision = f"/admin/services/{trade.service['serviceId']}/decision"
    answer = at(port, admin).send("POST", decision, body, script)
    assert (answer.status, "<main" in answer.text) == (503, False)
    assert (answer.headers["hx-retarget"], answer.headers["hx-reswap"]) == (".toasts", "beforeend")


async def test_a_session_that_has_ended_leads_back_to_the_page_of_the_form(
    trade: Trade, system: RunningSystem, people: People
) -> None:
    browser = await consumer_of(trade, system, people)
    sent = urlencode(_new_key(trade, browser.get(f"{_KEYS}/new")))
    url = f"http://127.0.0.1:{browser.port}"

    def leads_to(referrer: str, cookies: dict[str, str]) -> str:
        headers = {"Referer": referrer}
        return Browser(browser.port, dict(cookies)).send("POST", _KEYS, sent, headers).location

    back = f"/login?next={_KEYS}/new%3Fservice%3Dx"
    assert leads_to(f"{url}{_KEYS}/new?service=x", {}) == back  # the cookie has run out
    browser.post("/logout", "/marketplace")
    assert leads_to("https://evil.example/dashboard", {}) == "/login"
    assert leads_to("http://[", {}) == "/login"
