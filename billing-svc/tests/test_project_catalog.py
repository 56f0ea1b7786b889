"""The catalogue and the merchants as billing knows them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from ams_common.ids import uuid7
from billing_svc.testing import (
    Billing,
    Events,
    Group,
    merchant_changed,
    per_request,
    price_changed,
)


async def test_a_price_version_is_never_changed(billing: Billing, events: Events) -> None:
    version_id, service_id, at = uuid7(), uuid7(), events.started_at
    await events.catalog(price_changed(version_id, service_id, per_request("0.01"), at))
    await events.catalog(price_changed(version_id, service_id, per_request("0.010"), at))
    for price, starts_at in [
        (per_request("0.02"), at),
        (per_request("0.01", "USD"), at),
        (per_request("0.01"), at + timedelta(seconds=1)),
    ]:
        with pytest.raises(ValueError, match="another price"):
            await events.catalog(price_changed(version_id, service_id, price, starts_at))
    (row,) = await billing.rows("SELECT currency, first_day, end_day FROM price_versions")
    assert row["currency"] == "EUR"


async def test_each_day_has_the_last_price_that_has_begun_by_it(billing: Billing, events: Events) -> None:
    """In whatever order the versions come."""
    priced = await events.priced_service("1")
    for day in ("2026-11-20", "2026-11-10"):
        await events.new_price(priced, "2", day)
    canceled, at = uuid7(), datetime(2026, 11, 15, tzinfo=UTC)
    await events.catalog(price_changed(canceled, priced.service_id, per_request("3"), at))
    await events.catalog(price_changed(canceled, priced.service_id, per_request("3"), at, at))
    rows = await billing.rows("SELECT first_day::text, end_day::text FROM price_versions ORDER BY starts_at")
    assert [tuple(row) for row in rows] == [
        ("-infinity", "2026-11-10"),
        ("2026-11-10", "2026-11-20"),
        (None, None),
        ("2026-11-20", "infinity"),
    ]


async def test_a_price_in_the_future_makes_no_draft_anew(billing: Billing, events: Events) -> None:
    priced = await events.priced_service("1")
    await events.usage(Group(priced, uuid7()).total(1))
    await billing.draft()
    await events.new_price(priced, "2", "2027-01-01")
    assert await billing.rows("SELECT FROM draft_marks") == []
    await events.new_price(priced, "2", "2026-11-10")
    assert len(await billing.rows("SELECT FROM draft_marks")) == 1


async def test_an_older_name_of_a_merchant_does_not_undo_a_newer(billing: Billing, events: Events) -> None:
    merchant_id = uuid7()
    await events.identity(merchant_changed(merchant_id, "New", 2), merchant_changed(merchant_id, "Old", 1))
    (row,) = await billing.rows("SELECT display_name FROM merchants")
    assert row["display_name"] == "New"


async def counted(billing: Billing) -> list[tuple[Any, ...]]:
    rows = await billing.rows(
        "SELECT day::text, events, requests, request_bytes, response_bytes, last_offsets::text"
        " FROM usage_counters ORDER BY day"
    )
    return [tuple(row) for row in rows]


async def test_of_two_totals_the_greater_holds_figure_by_figure(billing: Billing, events: Events) -> None:
    group = Group(await events.priced_service("1"), uuid7())
    more_bytes = group.total(3, first=9)
    more_bytes.response_bytes = 9999
    await events.usage(group.total(4, first=4), more_bytes)
    await events.usage(group.total(2, first=2))
    assert await counted(billing) == [("2026-11-10", 4, 4, 40, 9999, '{"first": 4}')]


async def test_usage_that_was_read_again_elsewhere_is_counted_once(billing: Billing, events: Events) -> None:
    """Whose events they are is said as usage-svc knows it by now."""
    group = Group(await events.priced_service("1"), uuid7())
    await events.usage(group.total(100, first=100))
    await events.usage(group.total(70, first=50, second=20))
    assert await counted(billing) == [("2026-11-10", 100, 100, 1000, 10_000, '{"first": 100}')]
    await events.usage(group.total(100, first=50, second=50))
    assert await counted(billing) == [("2026-11-10", 100, 100, 1000, 10_000, '{"first": 50, "second": 50}')]
    (draft,) = await billing.draft()
    assert draft.lines[0].quantity == "100"


@pytest.mark.parametrize(
    "fields",
    [{"events": 0}, {"requests": -1}, {"requests": 4}, {"last_offsets": {}}, {"last_offsets": {"a": -1}}],
)
async def test_a_total_that_can_not_be_is_refused(fields: dict[str, Any], events: Events) -> None:
    total = Group(await events.priced_service("1"), uuid7()).total(3)
    for name, wrong in fields.items():
        total.ClearField(name)  # type: ignore[arg-type]
        if isinstance(wrong, dict):
            getattr(total, name).update(wrong)
        else:
            setattr(total, name, wrong)
    with pytest.raises(ValueError, match="total"):
        await events.usage(total)


async def test_a_figure_too_large_to_bill_is_refused_whole(billing: Billing, events: Events) -> None:
    group = Group(await events.priced_service("1"), uuid7())
    await events.usage(group.total(1))
    too_large = group.total(2)
    too_large.events = too_large.requests = 2**63 - 1
    await events.usage(too_large)
    with pytest.raises(asyncpg.DataError):
        await events.usage(Group(group.priced, group.consumer_id, api_key_id=uuid7()).total(1))
        await billing.draft()
    await billing.execute("DELETE FROM usage_counters; DELETE FROM draft_marks")
