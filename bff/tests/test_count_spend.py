"""Which days' spend stands beside a range of usage, and what rows of a table have of it."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_bff.usage.figures import REST
from ams_bff.usage.ranges import UsageQuery
from ams_bff.usage.spending import Spending, utc_days
from ams_common.money import to_decimal, to_money

NOW = datetime(2026, 11, 15, 20, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "zone", "first_day", "last_day", "is_whole"),
    [
        ({"range": "30d"}, "UTC", "2026-10-17", "2026-11-15", True),
        # In Tokyo it is the 16th by now: its days are called as the reader's are.
        ({"range": "30d"}, "Asia/Tokyo", "2026-10-18", "2026-11-16", True),
        ({"range": "12mo"}, "Asia/Tokyo", "2025-12-01", "2026-11-30", True),
        ({"from": "2026-11-01", "to": "2026-11-02"}, "Asia/Tokyo", "2026-11-01", "2026-11-02", True),
        # Hours are the same everywhere.
        ({"range": "24h"}, "Asia/Tokyo", "2026-11-14", "2026-11-15", False),
        ({"range": "1h"}, "America/Lima", "2026-11-15", "2026-11-15", False),
        ({"range": "7d", "by": "hour"}, "UTC", "2026-11-08", "2026-11-15", False),
    ],
)
def test_spend_is_of_the_days_that_a_range_names(
    query: dict[str, str], zone: str, first_day: str, last_day: str, is_whole: bool
) -> None:
    asked = UsageQuery.parse(query, CONSUMER, ZoneInfo(zone), NOW)
    days = (date.fromisoformat(first_day), date.fromisoformat(last_day))
    assert utc_days(asked, ZoneInfo(zone)) == (days, is_whole)


def spend(*groups: tuple[str, str, str]) -> pb.DaysSpend:
    return pb.DaysSpend(
        groups=[
            pb.GroupSpend(group=group, amount=to_money(Decimal(amount), currency))
            for group, amount, currency in groups
        ]
    )


def test_what_is_not_shown_by_itself_is_in_the_rest() -> None:
    spending = Spending(spend(("a", "5", "EUR"), ("b", "2", "EUR"), ("c", "1", "EUR"), ("c", "3", "JPY")))
    shown = spending.of_groups(["a", "d", REST])
    told = {
        name: [f"{to_decimal(amount).normalize():f} {amount.currency_code}" for amount in amounts]
        for name, amounts in shown.items()
    }
    assert told == {"a": ["5 EUR"], "d": [], REST: ["3 EUR", "3 JPY"]}


def test_a_change_is_of_one_currency() -> None:
    euro = pb.DaysSpend(totals=[to_money(Decimal(3), "EUR")])
    less, yen = (
        pb.DaysSpend(totals=[to_money(Decimal(2), "EUR")]),
        pb.DaysSpend(totals=[to_money(Decimal(2), "JPY")]),
    )
    assert Spending(euro, less).change == 0.5
    assert Spending(euro, yen).change is None
    assert Spending(euro).change is None
