"""What pages of prices, spend and reconciliation make of the answers behind them."""

from datetime import UTC, date, datetime

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.catalog.v1.pricing_pb2 import Price, PriceVersion
from ams_bff.ui.formats import decimal, span, utc_day
from ams_bff.ui.periods import day_of, month_of, months_before
from ams_bff.ui.price_words import charge_rule_lines, price_lines, price_short, tier_tables
from ams_bff.views.invoices import events_of
from ams_bff.views.prices import version_rows
from ams_bff.views.reconciliation import days_of, totals_of
from ams_bff.views.spend import service_rows, share_rows, shares_of_total
from ams_common.clock import to_timestamp
from google.type.money_pb2 import Money

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def euros(units: int) -> Money:
    return Money(currency_code="EUR", units=units)


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        ("2026-11-01", "2026-11-30", "November 2026"),
        ("2026-11-01", "2026-11-12", "1–12 Nov 2026"),
        ("2026-11-05", "2026-11-05", "5 Nov 2026"),
        ("2026-10-28", "2026-11-02", "28 Oct – 2 Nov 2026"),
        ("2026-12-28", "2027-01-02", "28 Dec 2026 – 2 Jan 2027"),
    ],
)
def test_days_are_told_as_shortly_as_they_can_be(first: str, last: str, text: str) -> None:
    assert span(first, last) == text


def test_exact_numbers_and_days_stay_exact() -> None:
    assert (decimal("1234567.500003"), decimal(""), utc_day("")) == ("1,234,567.500003", "–", "–")


def test_months_go_back_over_years_and_nonsense_is_none() -> None:
    assert months_before(datetime(2026, 2, 28, tzinfo=UTC), 3) == ["2026-02", "2026-01", "2025-12"]
    assert month_of("2026-13", "2026-11") == "2026-11"
    assert day_of("2026-02-30", date(2026, 1, 1)) == date(2026, 1, 1)


def test_a_service_without_a_price_has_no_words_and_a_free_one_has() -> None:
    assert (price_lines(Price()), price_short(Price())) == ([], "–")
    free = Price(currency_code="EUR")
    assert (price_lines(free), charge_rule_lines(free), tier_tables(free)) == (["Free"], [], [])


def version(day: int, month: int = 11, is_canceled: bool = False) -> PriceVersion:
    made = PriceVersion(starts_at=to_timestamp(datetime(2026, month, day, tzinfo=UTC)))
    if is_canceled:
        made.canceled_at.CopyFrom(made.starts_at)
    return made


def test_one_price_is_in_force_and_those_before_it_have_ended() -> None:
    versions = [version(10, 12), version(5, 12, True), version(28, 11, True), version(20), version(1)]
    assert [row.state for row in version_rows(versions, NOW)] == [
        "Announced",
        "Canceled",
        "Canceled",
        "In force",
        "Ended",
    ]


def test_spend_is_told_by_service_and_currency() -> None:
    lines = [
        pb.InvoiceLine(service_id="a", service_name="A", amount=euros(1)),
        pb.InvoiceLine(service_id="a", service_name="A", amount=euros(2)),
        pb.InvoiceLine(service_id="b", service_name="B", amount=euros(9)),
        pb.InvoiceLine(service_id="a", service_name="A", amount=Money(currency_code="JPY", units=5)),
    ]
    rows = service_rows(lines)
    assert [(row.service, row.amount.currency_code, row.amount.units) for row in rows] == [
        ("B", "EUR", 9),
        ("A", "EUR", 3),
        ("A", "JPY", 5),
    ]
    assert shares_of_total(rows, [euros(12)]) == [0.75, 0.25, 0.0]


def test_a_key_that_has_gone_is_called_by_its_id() -> None:
    spend = pb.GetConsumerSpendResponse(
        lines=[pb.InvoiceLine(service_id="a", service_name="A")],
        shares=[
            pb.SpendShare(service_id="a", group="0123456789", amount=euros(2), requests=4),
            pb.SpendShare(service_id="a", group="k", amount=euros(3), requests=6),
        ],
    )
    assert [(row.group, row.service, row.requests) for row in share_rows(spend, {"k": "Laptop"})] == [
        ("Laptop", "A", 6),
        ("…456789", "A", 4),
    ]


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ({}, ("2026-11-23", "2026-11-29")),
        ({"to": "2026-11-10"}, ("2026-11-04", "2026-11-10")),
        ({"from": "2026-11-01", "to": "2026-11-03"}, ("2026-11-01", "2026-11-03")),
        ({"from": "2026-11-03", "to": "2026-11-01"}, ("2026-11-01", "2026-11-03")),
        ({"from": "2026-01-01", "to": "2026-12-31"}, ("2026-01-01", "2026-03-03")),
        ({"from": "evil", "to": "x"}, ("2026-11-23", "2026-11-29")),
    ],
)
def test_days_of_a_url_are_as_many_as_may_be_asked_for(query: dict[str, str], days: tuple[str, str]) -> None:
    first, last = days_of(query, NOW.date(), 7)
    assert (first.isoformat(), last.isoformat()) == days


def test_days_add_up() -> None:
    days = [pb.ReconciledDay(forwarded=3, recorded=2, rated=1), pb.ReconciledDay(forwarded=1, invoiced=1)]
    assert totals_of(days) == {"forwarded": 4, "recorded": 2, "rated": 1, "invoiced": 1}


def test_an_invoices_life_is_told_from_its_end() -> None:
    invoice = pb.Invoice(number="INV-000001", status=pb.INVOICE_PAID)
    invoice.issued_at.FromSeconds(1)
    invoice.paid_at.FromSeconds(9)
    invoice.sent_at.FromSeconds(5)
    assert [title for title, *_ in events_of(invoice)] == ["Paid", "Sent", "Issued"]
