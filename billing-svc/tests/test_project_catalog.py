"""The catalogue as billing knows it."""

from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest
from ams_common.ids import uuid7
from billing_svc.testing import Billing, Events, price_started, service_changed, usage_delta


async def test_a_new_name_reaches_the_draft_and_an_older_event_does_not_undo_it(
    billing: Billing, events: Events
) -> None:
    priced, at = await events.priced_service("1", name="Old"), events.started_at
    await events.usage(usage_delta(priced, uuid7(), 1))
    new = service_changed(priced.service_id, priced.merchant_id, "New", at + timedelta(days=1))
    await events.catalog(new, new)
    await events.catalog(service_changed(priced.service_id, priced.merchant_id, "Old", at))
    (invoice,) = await billing.generate()
    assert [line.service_name for line in invoice.lines] == ["New"]


async def test_a_price_version_is_never_changed(billing: Billing, events: Events) -> None:
    version_id, service_id, at = uuid7(), uuid7(), events.started_at
    await events.catalog(price_started(version_id, service_id, Decimal("0.01"), "EUR", at))
    await events.catalog(price_started(version_id, service_id, Decimal("0.01"), "EUR", at))
    for amount, currency, starts_at in [
        ("0.02", "EUR", at),
        ("0.01", "USD", at),
        ("0.01", "EUR", at + timedelta(seconds=1)),
    ]:
        with pytest.raises(ValueError, match="another price"):
            await events.catalog(price_started(version_id, service_id, Decimal(amount), currency, starts_at))
    (row,) = await billing.rows("SELECT amount, currency FROM price_versions")
    assert tuple(row) == (Decimal("0.01"), "EUR")


async def test_a_figure_too_large_to_count_is_refused_whole(billing: Billing, events: Events) -> None:
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.usage(usage_delta(priced, consumer_id, 1))
    with pytest.raises(asyncpg.DataError):
        await events.usage(*[usage_delta(priced, consumer_id, 90_000_000_000_000_000) for _ in range(2)])
    (invoice,) = await billing.generate()
    assert invoice.lines[0].quantity == 1
