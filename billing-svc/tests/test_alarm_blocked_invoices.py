"""An invoice that can't be made raises the alarm that docs/billing.md names, until it can be."""

import logging
from datetime import UTC, datetime

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams_common import metrics
from ams_common.ids import uuid7
from billing_svc.testing import (
    Billing,
    Events,
    Group,
    PricedService,
    per_request,
    price_changed,
    service_changed,
)


def blocked() -> float:
    """The metric as a scrape has it."""
    (value,) = [
        line.split()[-1]
        for line in metrics.render().decode().splitlines()
        if line.startswith("ams_blocked_invoices ")
    ]
    return float(value)


async def test_the_alarm_goes_off_for_an_unknown_price_and_ends_with_its_arrival(
    billing: Billing, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    priced = await events.priced_service("1")
    unpriced = PricedService(priced.merchant_id, uuid7(), uuid7())
    consumer_id, other = uuid7(), uuid7()
    await events.usage(Group(priced, consumer_id).total(1), Group(priced, other).total(1))
    await billing.draft()
    assert blocked() == 0

    await events.usage(Group(unpriced, consumer_id).total(1))
    caplog.clear()
    await billing.draft()
    assert blocked() == 1
    (alarm,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert alarm.getMessage() == "usage can't be rated and blocks an invoice"
    told = {name: getattr(alarm, name) for name in ("code", "service_id", "merchant_id")}
    assert told == {
        "code": "price_unknown",
        "service_id": str(unpriced.service_id),
        "merchant_id": str(unpriced.merchant_id),
    }
    # Nobody who reads logs learns who the consumer is.
    assert str(consumer_id) not in str(alarm.__dict__)

    # A run that leaves the invoice out leaves the alarm.
    billing.clock.now = datetime(2026, 12, 4, tzinfo=UTC)
    run = await billing.issue("2026-11-30")
    assert (run.status, run.invoices) == (pb.RUN_INCOMPLETE, 1)
    await billing.draft()
    assert blocked() == 1

    # The name alone isn't enough, and the price ends it.
    caplog.clear()
    await events.catalog(
        service_changed(unpriced.service_id, unpriced.merchant_id, "Late", events.started_at)
    )
    await billing.draft()
    assert blocked() == 1
    caplog.clear()
    await events.catalog(
        price_changed(unpriced.price_version_id, unpriced.service_id, per_request("5"), events.started_at)
    )
    await billing.draft()
    assert blocked() == 0
    assert [record for record in caplog.records if record.levelno == logging.CRITICAL] == []
