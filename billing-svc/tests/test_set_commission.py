"""The platform's commission and its history."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.database import Database
from ams_common.errors import AlreadyExistsError, InvalidArgumentError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from billing_svc.__main__ import ensure_commission_rate
from billing_svc.store import Store
from billing_svc.testing import Billing, Events, Group, SetClock


async def create(
    billing: Billing, rate: str, starts_in: str, key: str = "", admin: UUID | None = None
) -> pb.CommissionRate:
    request = pb.CreateCommissionRateRequest(rate=rate, starts_in=starts_in, idempotency_key=key)
    answer: pb.CommissionRate = await billing.ask("CreateCommissionRate", request, admin or uuid7(), ADMIN)
    return answer


async def history(billing: Billing) -> list[tuple[str, str]]:
    answer = await billing.ask("ListCommissionRates", pb.ListCommissionRatesRequest(), uuid7(), ADMIN)
    return [(rate.starts_in, rate.rate) for rate in answer.commission_rates]


async def test_a_first_start_sets_the_commission_and_later_ones_keep_it(
    billing: Billing, database: Database[Store]
) -> None:
    await ensure_commission_rate(database, Decimal("0.5"))
    assert await history(billing) == [("2000-01", "0.1")]
    (audit,) = await billing.audits()
    assert (audit.action, audit.actor, dict(audit.details)) == (
        "commission_rate.create",
        "system",
        {"rate": "0.1"},
    )


async def test_a_new_rate_holds_from_its_month_on_and_not_before(
    billing: Billing, events: Events, clock: SetClock
) -> None:
    admin = uuid7()
    await create(billing, "0.125", "2026-12", admin=admin)
    assert await history(billing) == [("2026-12", "0.125"), ("2000-01", "0.1")]
    audit = (await billing.audits())[-1]
    assert (audit.action, audit.actor, audit.resource, audit.resource_id, dict(audit.details)) == (
        "commission_rate.create",
        str(admin),
        "commission_rate",
        "2026-12",
        {"rate": "0.125"},
    )
    clock.now = datetime(2027, 2, 3, tzinfo=UTC)
    priced, consumer_id = await events.priced_service("0.01"), uuid7()
    last_days = ["2026-11-30", "2026-12-31", "2027-01-31"]
    # 100 × 0.01 = 1.00: a tenth is 0.10; an eighth is 0.125, halfway, → 0.12
    await events.usage(*[Group(priced, consumer_id, day).total(100) for day in last_days])
    for day in last_days:
        await billing.issue(day)
    commissions = [
        (invoice.commission_rate, to_decimal(invoice.commission), to_decimal(invoice.total))
        for invoice in await billing.invoices()
    ]
    assert commissions == [
        ("0.1", Decimal("0.10"), Decimal("0.90")),
        ("0.125", Decimal("0.12"), Decimal("0.88")),
        ("0.125", Decimal("0.12"), Decimal("0.88")),
    ]


async def test_a_month_that_has_begun_keeps_its_rate(billing: Billing) -> None:
    for month in ("2026-11", "2026-10", "2000-01"):
        with pytest.raises(InvalidArgumentError) as caught:
            await create(billing, "0.2", month)
        assert (caught.value.code, caught.value.violations[0].field) == ("starts_in_invalid", "startsIn")
    assert await history(billing) == [("2000-01", "0.1")]


async def test_what_is_no_rate_is_refused(billing: Billing) -> None:
    for rate in ("1", "-0.1", "0.1234567", "NaN", "1e-3", "0,1", "x"):
        with pytest.raises(InvalidArgumentError) as caught:
            await create(billing, rate, "2026-12")
        assert (caught.value.code, caught.value.violations[0].field) == ("rate_invalid", "rate")
    assert await history(billing) == [("2000-01", "0.1")]


async def test_a_month_has_one_rate(billing: Billing) -> None:
    await create(billing, "0.2", "2026-12")
    with pytest.raises(AlreadyExistsError) as caught:
        await create(billing, "0.3", "2026-12")
    assert caught.value.code == "commission_rate_exists"
    assert (await history(billing))[0] == ("2026-12", "0.2")


async def test_the_same_request_again_gets_the_same_answer(billing: Billing) -> None:
    admin = uuid7()
    first = await create(billing, "0.2", "2026-12", "once", admin)
    assert await create(billing, "0.2", "2026-12", "once", admin) == first
    with pytest.raises(InvalidArgumentError) as caught:
        await create(billing, "0.3", "2027-01", "once", admin)
    assert caught.value.code == "idempotency_key_reused"
    assert len(await billing.audits()) == 2


async def test_the_history_cannot_be_rewritten(billing: Billing, database: Database) -> None:
    for sql in (
        "UPDATE commission_rates SET rate = 0",
        "DELETE FROM commission_rates",
        "TRUNCATE commission_rates",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await billing.execute(sql)
    assert await history(billing) == [("2000-01", "0.1")]
