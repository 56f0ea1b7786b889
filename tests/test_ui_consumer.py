"""The consumer's pages, usage and invoices, as a browser without scripts sees them."""

import asyncio
import csv
import io
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from html import unescape
from urllib.parse import urlencode

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from support import upstream_api
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import consume, open_trade

_SECRET = re.compile(r"ams_live_[A-Za-z0-9]{30,}")
_CALLS = 3


@dataclass(frozen=True, slots=True)
class UsedService:
    """A consumer whose key has made calls, the merchant of the service, and somebody else."""

    consumer: Browser
    merchant: Browser
    outsider: Browser
    service_id: str
    service_name: str
    key_id: str


@pytest.fixture(scope="module")
def used(system: RunningSystem) -> Iterator[UsedService]:
    yield asyncio.run(_use_service(system))


async def _use_service(system: RunningSystem) -> UsedService:
    tag = secrets.token_hex(4)
    async with aiohttp.ClientSession() as http, upstream_api.serving() as upstream:
        people = system.people(http)
        trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, tag)
        await people.register_consumer(f"outsider-{tag}@example.com")
        service = trade.service
        await eventually(lambda: _has_called(http, system, trade.secret, service["slug"]))
        for _ in range(_CALLS - 1):
            assert await _has_called(http, system, trade.secret, service["slug"])

        async def is_counted() -> bool:
            usage = await trade.consumer.get("/consumer/usage")
            spend = await trade.consumer.get("/consumer/spend")
            counted = sum(int(line["quantity"]) for line in spend["lines"])
            return int(usage["total"]["requests"]) == _CALLS == counted

        await eventually(is_counted)
        return UsedService(
            await _browse(system, people, f"consumer-{tag}@example.com"),
            await _browse(system, people, f"merchant-{tag}@example.com"),
            await _browse(system, people, f"outsider-{tag}@example.com"),
            service["serviceId"],
            service["name"],
            trade.key["keyId"],
        )


async def _has_called(http: aiohttp.ClientSession, system: RunningSystem, secret: str, slug: str) -> bool:
    return (await consume(http, system.gateway_url, secret, slug)).status == 200


async def _browse(system: RunningSystem, people: People, email: str) -> Browser:
    browser = Browser(system.port("ams-bff"))
    assert browser.post("/login", email=email).location == "/login/code"
    code = await people.mail.next_code(email)
    assert browser.post("/login/code", "/login/code", code=code).status == 303
    return browser


def _create_key(used: UsedService, page: Page, **fields: str) -> Page:
    """Sends the form of `page` as it stands there."""
    sent = {
        "csrf": page.hidden("csrf"),
        "idempotency_key": page.hidden("idempotency_key"),
        "service_ids": used.service_id,
        "ttl_days": "30",
        **fields,
    }
    return used.consumer.send("POST", "/dashboard/api-keys", urlencode(sent))


def _rows(page: Page) -> list[list[str]]:
    """The texts of the cells of the last table that isn't a chart's."""
    table = re.findall(r'<table class="table">.*?</table>', page.text, re.DOTALL)[-1]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
    return [
        [
            unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
        ]
        for row in rows
    ]


_AREA = (
    "/dashboard",
    "/dashboard/api-keys",
    "/dashboard/api-keys/new",
    "/dashboard/api-keys/spend-cap",
    "/dashboard/usage",
    "/dashboard/usage/table.csv",
    "/dashboard/services",
    "/dashboard/invoices",
)


@pytest.mark.parametrize("path", _AREA)
def test_a_consumer_sees_the_pages_of_consumers_and_nobody_else_does(used: UsedService, path: str) -> None:
    assert used.consumer.get(path).status == 200
    assert used.merchant.get(path).status == 403
    signed_out = Browser(used.consumer.port).get(path)
    assert (signed_out.status, signed_out.location.partition("?")[0]) == (303, "/login")


@pytest.mark.parametrize("path", ["/merchant/usage", "/merchant/invoices", "/merchant/invoices/table.csv"])
def test_the_merchants_usage_and_invoices_are_merchants(used: UsedService, path: str) -> None:
    assert used.merchant.get(path).status == 200
    assert used.consumer.get(path).status == 403


def test_somebody_elses_key_and_service_are_not_found(used: UsedService) -> None:
    for path in (f"/dashboard/api-keys/{used.key_id}", f"/dashboard/services/{used.service_id}"):
        assert used.consumer.get(path).status == 200
        hidden = used.outsider.get(path)
        assert hidden.status == 404
        assert "failure-code" in hidden.text
        assert used.service_name not in hidden.text
    revoking = f"/dashboard/api-keys/{used.key_id}/revoke"
    assert used.outsider.post(revoking, "/dashboard/api-keys/new", confirm="laptop").status == 404


@pytest.mark.parametrize("key_id", ["nonsense", "01920000-0000-7000-8000-000000000000"])
def test_a_key_that_is_not_there_is_not_found(used: UsedService, key_id: str) -> None:
    assert used.consumer.get(f"/dashboard/api-keys/{key_id}").status == 404


def test_who_has_no_keys_gets_three_steps(used: UsedService) -> None:
    overview = used.outsider.get("/dashboard").text
    assert "Three steps to your first call" in overview
    assert "data-chart" not in overview
    assert "0 of 3 done" in overview


def test_the_overview_tells_what_was_called_and_spent(used: UsedService) -> None:
    overview = used.consumer.get("/dashboard").text
    values = re.findall(r'<div class="kpi-value">(.*?)</div>', overview, re.DOTALL)
    requests, spent = (re.sub(r"<[^>]+>", "", value).strip() for value in values[:2])
    assert requests == str(_CALLS)
    assert spent.startswith("€0.0")
    assert 'Key created</strong> <span class="muted">laptop' in overview


def test_a_new_keys_secret_is_shown_once_with_samples_that_hold_it(used: UsedService) -> None:
    made = _create_key(used, used.consumer.get("/dashboard/api-keys/new"), name="Once")
    assert made.status == 200
    assert made.headers["cache-control"] == "no-store"
    secret = _SECRET.findall(made.text)[0]
    samples = re.findall(r"<pre[^>]*>(.*?)</pre>", made.text, re.DOTALL)
    assert len(samples) == 3
    assert all(secret in sample and "/api/consume/" in sample for sample in samples)
    copied = re.findall(r'data-copy="([^"]*)" aria-label="Copy (?:curl|Python|JavaScript)"', made.text)
    assert [unescape(text) for text in copied] == [unescape(re.sub("<[^>]+>", "", text)) for text in samples]
    [path] = set(re.findall(r'href="(/dashboard/api-keys/[0-9a-f-]{36})"', made.text))
    for later in (path, "/dashboard/api-keys", "/dashboard"):
        page = used.consumer.get(later)
        assert page.status == 200
        assert secret not in page.text


def test_a_form_sent_twice_makes_one_key_and_shows_no_secret_again(used: UsedService) -> None:
    form = used.consumer.get("/dashboard/api-keys/new")
    assert _create_key(used, form, name="Twice").status == 200
    again = _create_key(used, form, name="Twice")
    assert again.status == 303
    told = used.consumer.get(again.location)
    assert "revoke this key and make another" in told.text
    assert "toast-bad" in told.text  # which stays until it is dismissed
    assert not _SECRET.search(told.text)
    assert used.consumer.get("/dashboard/api-keys").text.count(">Twice</a>") == 1


def test_what_is_missing_is_told_and_nothing_typed_is_lost(used: UsedService) -> None:
    form = used.consumer.get("/dashboard/api-keys/new")
    refused = _create_key(used, form, name="", description="kept words", service_ids="")
    assert refused.status == 400
    assert 'id="f-name-error"' in refused.text
    assert 'id="f-service-ids-error"' in refused.text
    assert "kept words" in refused.text


def test_a_key_is_revoked_only_when_its_name_is_typed(used: UsedService) -> None:
    made = _create_key(used, used.consumer.get("/dashboard/api-keys/new"), name="Doomed")
    [path] = set(re.findall(r'href="(/dashboard/api-keys/[0-9a-f-]{36})"', made.text))
    wrong = used.consumer.post(f"{path}/revoke", path, confirm="doomed")
    assert wrong.status == 400
    assert re.search(r'<dialog class="dialog" id="revoke"[^>]* open>', wrong.text)
    field = wrong.text.partition('<dialog class="dialog" id="revoke"')[2].partition("</dialog>")[0]
    assert "nothing was revoked" in field
    assert 'aria-invalid="true"' in field
    right = used.consumer.post(f"{path}/revoke", path, confirm="Doomed")
    assert (right.status, right.location) == (303, path)
    gone = used.consumer.get(path).text
    assert "Calls with it are refused, for good." in gone
    assert 'commandfor="revoke"' not in gone


@pytest.mark.parametrize("area", ["/dashboard", "/merchant"])
@pytest.mark.parametrize("group", ["service", "key", "status"])
def test_the_csv_is_what_the_usage_table_shows(used: UsedService, area: str, group: str) -> None:
    browser = used.consumer if area == "/dashboard" else used.merchant
    query = f"?range=7d&group={group}"
    shown = _rows(browser.get(f"{area}/usage{query}"))
    has_spend = area == "/dashboard" and group != "status"
    file = browser.get(f"{area}/usage/table.csv{query}")
    assert file.headers.get_content_type() == "text/csv"
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [(row["name"], row["requests"], row["billable_requests"]) for row in rows] == [
        # Only who pays has a column for spend.
        (cells[0], cells[1 + has_spend], cells[7 + has_spend])
        for cells in shown
    ]
    assert sum(int(row["requests"]) for row in rows) == _CALLS
    chart = list(csv.reader(io.StringIO(browser.get(f"{area}/usage/chart.csv{query}").text)))
    assert len(chart) == 1 + 7 * 24
    assert sum(int(value) for row in chart[1:] for value in row[1:]) == _CALLS


def test_spend_stands_beside_usage(used: UsedService) -> None:
    spent = f"€{(_CALLS * Decimal('0.005')).quantize(Decimal('0.01'), ROUND_HALF_EVEN)}"
    for group in ("", "&group=key", "&group=project"):
        query = f"?range=30d{group}"
        page = used.consumer.get(f"/dashboard/usage{query}")
        [row] = _rows(page)
        assert row[1] == spent, group
        assert f'<div class="kpi-value"><span class="nowrap">{spent}</span>' in page.text
        [file_row] = csv.DictReader(io.StringIO(used.consumer.get(f"/dashboard/usage/table.csv{query}").text))
        assert f"€{file_row['spend_EUR']}" == spent
    for path in (
        "/dashboard",
        f"/dashboard/services/{used.service_id}",
        f"/dashboard/api-keys/{used.key_id}",
        f"/dashboard/usage?range=24h&service={used.service_id}&key={used.key_id}",
    ):
        assert spent in used.consumer.get(path).text, path
    # Who looks for something of somebody else finds nothing of theirs.
    assert spent not in used.outsider.get(f"/dashboard/usage?range=30d&service={used.service_id}").text


def test_spend_is_not_told_by_status(used: UsedService) -> None:
    by_status = used.consumer.get("/dashboard/usage?range=30d&group=status")
    assert 'data-label="Spend"' not in by_status.text
    narrowed = used.consumer.get("/dashboard/usage?range=30d&status=2xx")
    assert 'data-label="Spend"' not in narrowed.text
    assert "isn’t told by status" in narrowed.text
    header = used.consumer.get("/dashboard/usage/table.csv?range=30d&group=status").text.splitlines()[0]
    assert "spend" not in header


def test_a_draft_comes_by_itself_and_only_its_merchant_sees_it(used: UsedService) -> None:
    async def listed() -> list[str]:
        text = used.merchant.get("/merchant/invoices?status=draft&sort=-total").text
        assert 'aria-sort="descending"' in text or "No invoices yet" in text or "Nothing matches" in text
        return re.findall(r'href="/merchant/invoices/([0-9a-f-]{36})"', text)

    [draft] = set(asyncio.run(eventually(listed)))
    shown = used.merchant.get(f"/merchant/invoices/{draft}").text
    for told in ("Due to you", used.service_name, "EUR 0.005 per request", "A draft"):
        assert told in shown
    assert draft not in used.consumer.get("/dashboard/invoices").text
    for browser in (used.consumer, used.outsider):
        assert browser.get(f"/dashboard/invoices/{draft}").status == 404
    assert used.service_name in used.consumer.get("/dashboard/spend").text


def test_a_key_is_made_with_a_spend_cap_and_the_cap_is_changed_and_removed(used: UsedService) -> None:
    cap = {"spend_cap.amount": "12,50", "spend_cap.currency_code": "CHF"}
    made = _create_key(used, used.consumer.get("/dashboard/api-keys/new"), name="Capped", **cap)
    [path] = set(re.findall(r'href="(/dashboard/api-keys/[0-9a-f-]{36})"', made.text))
    assert "<strong>CHF 12.50</strong> a month" in used.consumer.get(path).text
    wrong = used.consumer.post(f"{path}/spend-cap", path, **cap | {"spend_cap.amount": "lots"})
    assert wrong.status == 400
    assert re.search(r'<dialog class="dialog" id="spend-cap"[^>]* open>', wrong.text)
    assert 'id="f-spend-cap-amount-error"' in wrong.text
    assert 'value="lots"' in wrong.text
    changed = used.consumer.post(f"{path}/spend-cap", path, **cap | {"spend_cap.amount": "99"})
    assert (changed.status, changed.location) == (303, path)
    assert "<strong>CHF 99.00</strong> a month" in used.consumer.get(path).text
    assert used.outsider.post(f"{path}/spend-cap", "/dashboard/api-keys/spend-cap", **cap).status == 404
    removed = used.consumer.post(f"{path}/spend-cap", path, intent="remove")
    assert (removed.status, removed.location) == (303, path)
    assert "None of its own." in used.consumer.get(path).text


def test_a_cap_over_all_keys_is_set_and_removed_by_its_consumer(used: UsedService) -> None:
    path = "/dashboard/api-keys/spend-cap"
    assert "No cap is set" in used.outsider.get(path).text
    for amount in ("", "much", "-1"):
        wrong = used.outsider.post(
            path, path, **{"spend_cap.amount": amount, "spend_cap.currency_code": "EUR"}
        )
        assert wrong.status == 400
        assert 'id="f-spend-cap-amount-error"' in wrong.text
    fields = {"spend_cap.amount": "50", "spend_cap.currency_code": "EUR"}
    assert used.outsider.post(path, path, **fields).location == path
    assert "Set to €50.00" in used.outsider.get(path).text
    assert "No cap is set" in used.consumer.get(path).text
    assert used.outsider.post(path, path, intent="remove").location == path
    assert "No cap is set" in used.outsider.get(path).text


def test_a_test_key_says_so_wherever_it_is_named(used: UsedService) -> None:
    made = _create_key(used, used.consumer.get("/dashboard/api-keys/new"), name="Trial", is_test="true")
    assert re.search(r"ams_test_[A-Za-z0-9]{30,}", made.text)
    assert "its calls are never billed" in made.text
    [path] = set(re.findall(r'href="(/dashboard/api-keys/[0-9a-f-]{36})"', made.text))
    badge = r'<span class="badge badge-info">Test</span>'
    assert re.search(badge, used.consumer.get(path).text)
    assert re.search(rf">Trial</a>\s*{badge}", used.consumer.get("/dashboard/api-keys").text)
    assert "Set a cap" not in used.consumer.get(path).text
