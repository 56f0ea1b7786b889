"""Prices, invoices, spend and reconciliation, as a browser without scripts sees them."""

import asyncio
import csv
import io
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from ams.usage.v1.events_pb2 import ANSWERED, UsageEvent, UsageTotalBatch
from ams_common.clock import to_timestamp
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from ams_common.topics import USAGE_AGGREGATED, USAGE_EVENTS
from billing_svc.testing import Group, PricedService
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import Trade, open_trade, typed_price

_CALLS = 7
_YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Billed:
    """A merchant and a consumer with usage of yesterday, and somebody else of each role."""

    merchant: Browser
    consumer: Browser
    other_merchant: Browser
    admin: Browser
    merchant_id: UUID
    consumer_email: str
    service_id: str
    slug: str
    service_name: str
    key_id: str


@pytest.fixture(scope="module")
def billed(system: RunningSystem, kafka_bootstrap: str) -> Iterator[Billed]:
    yield asyncio.run(_bill(system, kafka_bootstrap))


async def _bill(system: RunningSystem, kafka_bootstrap: str) -> Billed:
    tag = secrets.token_hex(4)
    async with aiohttp.ClientSession() as http:
        people = system.people(http)
        trade = await open_trade(people, ADMIN_EMAIL, "https://api.example", tag)
        other = await open_trade(people, ADMIN_EMAIL, "https://api.example", f"x{tag}")
        await _use_yesterday(system, kafka_bootstrap, trade)

        async def is_counted() -> bool:
            spend = await trade.consumer.get("/consumer/spend", period=f"{_YESTERDAY:%Y-%m}")
            return [line["quantity"] for line in spend.get("lines", [])] == [str(_CALLS)]

        await eventually(is_counted)
        email = (await other.merchant.get("/me"))["email"]
        return Billed(
            await sign_in(system, people, f"merchant-{tag}@example.com"),
            await sign_in(system, people, f"consumer-{tag}@example.com"),
            await sign_in(system, people, email),
            await sign_in(system, people, ADMIN_EMAIL),
            UUID(trade.service["merchantId"]),
            f"consumer-{tag}@example.com",
            trade.service["serviceId"],
            trade.service["slug"],
            trade.service["name"],
            trade.key["keyId"],
        )


async def _use_yesterday(system: RunningSystem, kafka_bootstrap: str, trade: Trade) -> None:
    """Nobody can call the gateway yesterday: what it would have metered."""
    [price] = (await trade.merchant.get(f"/services/{trade.service['serviceId']}/prices"))["prices"]
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    try:
        for hour in range(_CALLS):
            at = datetime.combine(_YESTERDAY, datetime.min.time(), UTC) + timedelta(hours=hour + 1)
            event = UsageEvent(
                event_id=uuid7().bytes,
                timestamp=to_timestamp(at),
                consumer_id=trade.key["consumerId"],
                api_key_id=trade.key["keyId"],
                service_id=trade.service["serviceId"],
                merchant_id=trade.service["merchantId"],
                price_version_id=price["priceVersionId"],
                key_prefix=trade.key["keyPrefix"],
                request_payload_size_bytes=10,
                response_payload_size_bytes=1000,
                response_time_ms=5,
                status_code=200,
                outcome=ANSWERED,
            )
            await producer.send_and_wait(
                system.topic_prefix + USAGE_EVENTS, event.SerializeToString(), key=event.consumer_id.encode()
            )
    finally:
        await producer.stop()


def _invoice_of(billed: Billed, browser: Browser, area: str, query: str) -> str:
    """The path of the first invoice in a list, waited for: runs work in the background."""

    async def listed() -> str | None:
        text = browser.get(f"/{area}/invoices?{query}").text
        found = re.search(rf'href="(/{area}/invoices/[0-9a-f-]{{36}})"', text)
        return found[1] if found else None

    path = asyncio.run(eventually(listed))
    assert path
    return path


@pytest.fixture(scope="module")
def issued(billed: Billed) -> str:
    return _issue(billed)


def _issue(billed: Billed) -> str:
    """The id of the invoice through yesterday."""
    page = "/merchant/invoices/issue"
    run = billed.merchant.post(page, page, last_day=_YESTERDAY.isoformat())
    assert re.fullmatch(r"/merchant/invoices/runs/[0-9a-f-]{36}", run.location), run.text

    async def is_done() -> bool:
        return "1 invoice issued" in billed.merchant.get(run.location).text

    asyncio.run(eventually(is_done))
    assert run.location in billed.merchant.get("/merchant/invoices/runs").text
    return _invoice_of(billed, billed.merchant, "merchant", "status=issued").rpartition("/")[2]


def _rows(page: Page) -> list[dict[str, str]]:
    assert page.headers.get_content_type() == "text/csv"
    return list(csv.DictReader(io.StringIO(page.text)))


def test_a_price_is_announced_and_taken_back(billed: Billed) -> None:
    path = f"/merchant/services/{billed.service_id}/prices"
    day = (datetime.now(UTC) + timedelta(days=40)).date()
    fields = {**typed_price("0.25"), "starts_on": day.isoformat(), "price.charge_rule": "client_errors"}
    made = billed.merchant.post(path, path, **fields, idempotency_key=secrets.token_hex(8))
    assert (made.status, made.location) == (303, path)
    assert "EUR 0.25 per request" in billed.merchant.get(path).text

    async def is_told() -> bool:
        text = billed.consumer.get(f"/marketplace/{billed.slug}").text
        return f"Another price from {day:%-d %b %Y}" in text and "EUR 0.25 per request" in text

    asyncio.run(eventually(is_told))
    [cancel] = re.findall(rf'action="({path}/[0-9a-f-]{{36}}/cancel)"', billed.merchant.get(path).text)
    assert billed.other_merchant.post(cancel, "/merchant/services/new").status == 404
    assert billed.merchant.post(cancel, path).location == path
    assert "Canceled" in billed.merchant.get(path).text
    again = billed.merchant.post(cancel, path)
    assert again.status == 409


def test_a_price_that_starts_too_early_is_refused_and_stays_typed(billed: Billed) -> None:
    path = f"/merchant/services/{billed.service_id}/prices"
    for starts_on, amount in ((_YESTERDAY.isoformat(), "0.25"), ("", "0.25"), ("2030-01-01", "x")):
        answer = billed.merchant.post(path, path, **typed_price(amount), starts_on=starts_on)
        assert answer.status == 400
        assert f'value="{amount}"' in answer.text


def test_parts_of_a_price_are_edited_without_scripts(billed: Billed) -> None:
    page = "/merchant/services/new"
    fields = {"type": "API", "name": "Kept", **typed_price("0.02"), "example.requests": "1000"}
    added = billed.merchant.post("/merchant/services", page, **fields, intent="add:graduated")
    assert added.status == 200
    assert 'value="Kept"' in added.text
    assert 'name="price.components.1.graduated.tiers.1.unit_amount"' in added.text
    previewed = billed.merchant.post("/merchant/services", page, **fields, intent="preview")
    assert "€20.00" in previewed.text
    assert "EUR 0.02 per request" in previewed.text
    part = billed.merchant.post("/merchant/services/price", page, **fields)
    assert "€20.00" in part.text
    assert "<html" not in part.text


def test_the_marketplace_and_its_file_tell_the_price_in_words(billed: Billed) -> None:
    text = billed.consumer.get(f"/marketplace/{billed.slug}").text
    assert "EUR 0.005 per request" in text
    assert "Never" not in text.partition("Price")[0]
    assert "Not charged: answers with 5xx" in text
    rows = _rows(billed.consumer.get(f"/marketplace/table.csv?q={billed.service_name.split()[1]}"))
    assert [(row["price"], row["currency"]) for row in rows] == [("EUR 0.005 per request", "EUR")]


def test_spend_is_told_by_service_and_key(billed: Billed) -> None:
    month = f"month={_YESTERDAY:%Y-%m}"
    assert "€0.04" in billed.consumer.get(f"/dashboard/spend?{month}").text  # 7 × 0.005, half-even
    by_key = billed.consumer.get(f"/dashboard/spend?group=key&{month}").text
    assert f'href="/dashboard/api-keys/{billed.key_id}"' in by_key
    assert "100.0%" in by_key
    [row] = _rows(billed.consumer.get(f"/dashboard/spend/table.csv?group=key&{month}"))
    assert (row["requests"], row["amount"], row["currency"]) == (str(_CALLS), "0.040000000", "EUR")
    assert "No project" in billed.consumer.get(f"/dashboard/spend?group=project&{month}").text


def test_revenue_of_the_month_is_told_by_service(billed: Billed) -> None:
    month = f"month={_YESTERDAY:%Y-%m}"
    text = billed.merchant.get(f"/merchant/revenue?{month}").text
    assert "€0.04" in text
    assert billed.service_name in text
    [row] = _rows(billed.merchant.get(f"/merchant/revenue/table.csv?{month}"))
    assert (row["service"], row["quantity"]) == (billed.service_name, str(_CALLS))
    assert _rows(billed.other_merchant.get(f"/merchant/revenue/table.csv?{month}")) == []


def test_both_sides_and_admins_see_an_issued_invoice_and_nobody_else(billed: Billed, issued: str) -> None:
    mine = billed.merchant.get(f"/merchant/invoices/{issued}")
    theirs = billed.consumer.get(f"/dashboard/invoices/{issued}")
    admins = billed.admin.get(f"/admin/invoices/{issued}")
    for page in (mine, theirs, admins):
        assert (page.status, "INV-000001" in page.text) == (200, True)
        assert billed.service_name in page.text
    assert "Due to you" in mine.text
    assert "Commission" not in theirs.text
    assert "cst_" not in theirs.text
    assert billed.other_merchant.get(f"/merchant/invoices/{issued}").status == 404
    assert billed.merchant.get(f"/dashboard/invoices/{issued}").status == 403
    assert issued in billed.consumer.get("/dashboard/invoices?kind=invoice").text
    assert issued in billed.admin.get("/admin/invoices?status=issued").text
    [row] = _rows(billed.merchant.get("/merchant/invoices/table.csv?status=issued"))
    assert (row["number"], row["kind"], row["status"]) == ("INV-000001", "Invoice", "Issued")
    [row] = _rows(billed.consumer.get("/dashboard/invoices/table.csv"))
    assert "commission" not in row


@pytest.mark.parametrize(
    ("name", "media_type"), [("pdf", "application/pdf"), ("html", "text/html"), ("csv", "text/csv")]
)
def test_an_invoice_is_kept_as_a_file(billed: Billed, issued: str, name: str, media_type: str) -> None:
    for browser, area in ((billed.merchant, "merchant"), (billed.consumer, "dashboard")):
        file = browser.get(f"/{area}/invoices/{issued}/document/{name}")
        assert (file.status, file.headers.get_content_type()) == (200, media_type)
        assert file.headers["content-disposition"] == f'attachment; filename="INV-000001.{name}"'
    assert billed.merchant.get(f"/merchant/invoices/{issued}/document/exe").status == 404
    assert billed.other_merchant.get(f"/merchant/invoices/{issued}/document/{name}").status == 404


def test_the_proof_file_is_streamed_to_its_own_people(billed: Billed, issued: str) -> None:
    proof = billed.consumer.get(f"/dashboard/invoices/{issued}/proof")
    assert proof.status == 200
    assert proof.text.count("\n") > _CALLS
    assert billed.other_merchant.get(f"/merchant/invoices/{issued}/proof").status == 404


def test_each_line_leads_to_the_calls_that_it_counts(billed: Billed, issued: str) -> None:
    for browser, area in (
        (billed.merchant, "merchant"),
        (billed.consumer, "dashboard"),
        (billed.admin, "admin"),
    ):
        line = f"/{area}/invoices/{issued}/lines/1"
        assert f'href="{line}"' in browser.get(f"/{area}/invoices/{issued}").text
        page = browser.get(line)
        assert (page.status, billed.service_name in page.text) == (200, True)
        rows = _rows(browser.get(f"{line}/table.csv"))
        assert len({row["event_id"] for row in rows}) == _CALLS
        assert all(row["event_id"] in page.text for row in rows)
        assert {row["is_billed_before"] for row in rows} == {"no"}
        # A merchant learns no id of a key.
        assert (billed.key_id in page.text) == (area == "dashboard")
        assert {row["api_key_id"] for row in rows} == ({""} if area == "merchant" else {billed.key_id})
        for position in ("0", "2", "x", "-1", "9999999"):
            assert browser.get(f"/{area}/invoices/{issued}/lines/{position}").status == 404
        assert browser.get(f"{line}?page=x").status == 404
    assert billed.other_merchant.get(f"/merchant/invoices/{issued}/lines/1").status == 404
    assert billed.other_merchant.get(f"/merchant/invoices/{issued}/lines/1/table.csv").status == 404
    assert billed.merchant.get(f"/dashboard/invoices/{issued}/lines/1").status == 403


async def test_scripts_list_a_lines_events_too(
    system: RunningSystem, billed: Billed, issued: str, http: aiohttp.ClientSession
) -> None:
    people = system.people(http)
    consumer = await people.signed_in(billed.consumer_email)
    path = f"/invoices/{issued}/lines/1/events"
    first = await consumer.get(path, pageSize="5")
    rest = await consumer.get(path, pageSize="5", pageToken=first["nextPageToken"])
    found = [*first["events"], *rest["events"]]
    assert (len(first["events"]), len({each["eventId"] for each in found})) == (5, _CALLS)
    assert {each["apiKeyId"] for each in found} == {billed.key_id}
    assert (await consumer.get(f"/invoices/{issued}"))["notCharged"][0].startswith(
        "Not charged: answers with 5xx"
    )
    for wrong, status in (
        (f"/invoices/{issued}/lines/x/events", 400),
        (f"/invoices/{issued}/lines/7/events", 404),
    ):
        answer = await consumer.ask("GET", wrong)
        assert answer.status == status, answer
    stranger = await people.register_consumer(f"{secrets.token_hex(6)}@example.com")
    assert (await stranger.ask("GET", path)).status == 404


def test_the_invoices_page_says_what_its_prices_do_not_charge(billed: Billed, issued: str) -> None:
    for browser, area in ((billed.merchant, "merchant"), (billed.consumer, "dashboard")):
        text = browser.get(f"/{area}/invoices/{issued}").text
        assert "Not charged: answers with 5xx" in text
        assert 'href="/docs/billing"' in text
        assert "marketplace" not in text.partition("<main")[2].partition("</main>")[0]


def test_any_draft_is_reached_from_its_page_however_many_there_are(
    system: RunningSystem, kafka_bootstrap: str
) -> None:
    billed = asyncio.run(_bill(system, kafka_bootstrap))
    draft = _invoice_of(billed, billed.merchant, "merchant", "status=draft")
    asyncio.run(_let_many_use(system, kafka_bootstrap, billed))

    async def are_drafted() -> bool:
        text = billed.merchant.get("/merchant/invoices/issue").text
        return text.count('name="consumers"') == 100 and 'rel="next"' in text

    asyncio.run(eventually(are_drafted))
    [path] = re.findall(
        r'href="(/merchant/invoices/issue\?consumer=cst_[^"]+)"', billed.merchant.get(draft).text
    )
    pseudonym = path.rpartition("=")[2]
    assert pseudonym not in billed.merchant.get("/merchant/invoices/issue").text
    page = billed.merchant.get(path)
    [ticked] = re.findall(r'name="consumers" value="([^"]+)" checked', page.text)
    assert ticked == pseudonym
    assert path in billed.merchant.get(f"/merchant/consumers/{pseudonym}").text
    # Nobody ticked isn't everybody here.
    refused = billed.merchant.post(path, path, last_day=_YESTERDAY.isoformat())
    assert (refused.status, "field-error" in refused.text) == (400, True)
    run = billed.merchant.post(path, path, last_day=_YESTERDAY.isoformat(), consumers=pseudonym)

    async def is_done() -> bool:
        return "1 invoice issued" in billed.merchant.get(run.location).text

    asyncio.run(eventually(is_done))
    assert _invoice_of(billed, billed.merchant, "merchant", "status=issued") == draft
    assert "No draft" in billed.merchant.get(path).text
    assert "No draft" in billed.merchant.get("/merchant/invoices/issue?consumer=evil").text
    assert "No draft" in billed.admin.get("/admin/invoices/issue?consumer=evil").text


async def _let_many_use(system: RunningSystem, kafka_bootstrap: str, billed: Billed) -> None:
    """More consumers than the page has drafts, each with a call of yesterday, as usage-svc would tell it."""
    priced = PricedService(billed.merchant_id, UUID(billed.service_id), uuid7())
    totals = [Group(priced, uuid7(), _YESTERDAY.isoformat()).total(1) for _ in range(105)]
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    try:
        topic, batch = system.topic_prefix + USAGE_AGGREGATED, UsageTotalBatch(totals=totals)
        await producer.send_and_wait(topic, batch.SerializeToString(), key=b"many")
    finally:
        await producer.stop()


def test_an_invoice_is_sent_credited_and_paid(billed: Billed, issued: str) -> None:
    path = f"/merchant/invoices/{issued}"
    assert billed.merchant.post(f"{path}/send", path).location == path
    assert "Sent" in billed.merchant.get(path).text
    for fields in ({"amount": "much", "reason": "r"}, {"amount": "0.01"}, {"amount": "99", "reason": "r"}):
        wrong = billed.merchant.post(f"{path}/credit", path, **fields)
        assert wrong.status in (400, 409), fields
        assert re.search(r'<dialog class="dialog" id="credit"[^>]* open>', wrong.text)
    note = billed.merchant.post(f"{path}/credit", path, amount="0,01", reason="Down for an hour")
    assert re.fullmatch(r"/merchant/invoices/[0-9a-f-]{36}", note.location)
    shown = billed.merchant.get(note.location).text
    assert "Credit note CN-000001" in shown
    assert f'href="{path}"' in shown
    assert "Down for an hour" in billed.consumer.get(note.location.replace("/merchant/", "/dashboard/")).text
    for browser, area in ((billed.merchant, "merchant"), (billed.consumer, "dashboard")):
        text = browser.get(f"/{area}/invoices/{issued}").text
        assert "Credited since" in text
        assert (
            f'href="{note.location.replace("/merchant/", f"/{area}/")}">CN-000001</a> takes back €0.01'
            in text
        )
        assert "INV-000001</a>" in browser.get(note.location.replace("/merchant/", f"/{area}/")).text
    assert billed.other_merchant.post(f"{path}/paid", "/merchant/services/new").status == 404
    assert billed.merchant.post(f"{path}/paid", path).location == path
    assert "Paid" in billed.consumer.get(f"/dashboard/invoices/{issued}").text
    again = billed.merchant.post(f"{path}/paid", path)
    assert again.status == 409


def test_a_paid_invoice_is_not_voided_and_voiding_asks_for_its_number(billed: Billed, issued: str) -> None:
    path = f"/merchant/invoices/{issued}"
    assert billed.merchant.post(f"{path}/void", path, confirm="INV-9", reason="r").status == 400
    assert billed.merchant.post(f"{path}/void", path, confirm="INV-000001").status == 400


def test_a_void_invoice_and_its_credit_note_name_each_other_and_its_usage_is_billed_anew(
    system: RunningSystem, kafka_bootstrap: str
) -> None:
    billed = asyncio.run(_bill(system, kafka_bootstrap))
    issued = _issue(billed)
    path = f"/merchant/invoices/{issued}"
    # Without its number or a reason, and by who doesn't own it, nothing happens.
    for fields in ({"confirm": "INV-9", "reason": "Wrong"}, {"confirm": "INV-000001"}):
        refused = billed.merchant.post(f"{path}/void", path, **fields)
        assert refused.status == 400
        assert re.search(r'<dialog class="dialog" id="void"[^>]* open>', refused.text)
    wanted = {"confirm": "INV-000001", "reason": "Wrong address"}
    assert billed.other_merchant.post(f"{path}/void", "/merchant/services/new", **wanted).status == 404
    assert billed.consumer.post(f"{path}/void", "/dashboard/keys", **wanted).status == 403
    assert "Void INV-000001?" in billed.merchant.get(path).text
    assert billed.merchant.post(f"{path}/void", path, **wanted).location == path
    for browser, area in ((billed.merchant, "merchant"), (billed.consumer, "dashboard")):
        text = browser.get(f"/{area}/invoices/{issued}").text
        assert "nothing is to be paid of it" in text
        note = re.search(rf'href="(/{area}/invoices/[0-9a-f-]{{36}})">CN-000001</a> takes back €0.04', text)
        assert note, text
        shown = browser.get(note[1]).text
        assert f'href="/{area}/invoices/{issued}">INV-000001</a>' in shown
        assert "Wrong address" in shown
    [row] = _rows(billed.consumer.get("/dashboard/invoices/table.csv?kind=credit-note"))
    assert (row["number"], Decimal(row["subtotal"])) == ("CN-000001", Decimal("0.04"))
    assert billed.merchant.post(f"{path}/void", path, **wanted).status == 409
    again = _issue(billed)
    assert again != issued
    [line] = _rows(billed.merchant.get(f"/merchant/invoices/{again}/document/csv"))
    assert (line["number"], line["quantity"]) == ("INV-000002", str(_CALLS))
    assert Decimal(line["subtotal"]) == Decimal("0.04")


def test_a_statement_agrees_with_its_invoices(billed: Billed, issued: str) -> None:
    month = f"month={datetime.now(UTC):%Y-%m}"
    text = billed.merchant.get(f"/merchant/statements?{month}").text
    assert issued in text
    rows = _rows(billed.merchant.get(f"/merchant/statements/table.csv?{month}"))
    assert "INV-000001" in [row["number"] for row in rows]
    assert _rows(billed.other_merchant.get(f"/merchant/statements/table.csv?{month}")) == []


def test_days_are_reconciled_for_each_role(billed: Billed) -> None:
    days = f"from={_YESTERDAY}&to={_YESTERDAY}"
    for browser, area in ((billed.merchant, "merchant"), (billed.consumer, "dashboard")):
        page = browser.get(f"/{area}/reconciliation?{days}")
        assert page.status == 200
        [row] = _rows(browser.get(f"/{area}/reconciliation/table.csv?{days}"))
        assert (row["day"], row["recorded"], row["rated"]) == (str(_YESTERDAY), str(_CALLS), str(_CALLS))
        # Made without a gateway.
        assert "recorded_not_forwarded=7" in row["differences"]
        # Each difference by its title, and what it means below: the answer's words, for the page has none.
        for words in ("Recorded, not told by a gateway", "nobody has told yet that they were forwarded"):
            assert words in page.text
        assert "Forwarded, not recorded" not in page.text
        assert row["request_bytes_recorded"] == row["request_bytes_rated"]
        assert row["response_bytes_recorded"] == row["response_bytes_rated"] != "0"
    assert billed.admin.get(f"/admin/reconciliation?{days}").status == 200
    assert _rows(billed.other_merchant.get(f"/merchant/reconciliation/table.csv?{days}")) == []


def test_a_past_month_is_simulated_and_another_service_estimated(billed: Billed) -> None:
    path = f"/merchant/services/{billed.service_id}/simulation"
    last_month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    result = billed.merchant.post(path, path, **typed_price("1"), period=last_month)
    assert result.status == 200
    assert "As it was" in result.text
    assert billed.merchant.post(path, path, **typed_price("x"), period=last_month).status == 400
    cost = billed.consumer.get(f"/marketplace/{billed.slug}/cost?used={billed.service_id}")
    assert cost.status == 200
    assert "€0.04" in cost.text


@pytest.mark.parametrize(
    "path", ["/invoices", "/invoices/issue", "/invoices/runs", "/statements", "/revenue", "/reconciliation"]
)
def test_the_merchants_pages_are_merchants(billed: Billed, path: str) -> None:
    assert billed.consumer.get(f"/merchant{path}").status == 403


def test_strange_urls_are_no_fault(billed: Billed) -> None:
    paths: list[tuple[Any, str]] = [
        (billed.consumer, "/dashboard/spend?month=evil&group=evil"),
        (billed.merchant, "/merchant/revenue?month=2026-99"),
        (billed.merchant, "/merchant/reconciliation?from=x&to=2026-02-31&only=evil"),
        (billed.merchant, "/merchant/invoices?status=evil&kind=evil&sort=evil"),
        (billed.consumer, f"/marketplace/{billed.slug}/cost?used=evil"),
    ]
    for browser, path in paths:
        assert browser.get(path).status == 200, path
