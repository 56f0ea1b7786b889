"""What was forwarded, recorded, rated and invoiced is one figure, or the difference has a name."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.clock import utc_now
from ams_common.errors import InvalidArgumentError, PermissionDeniedError
from ams_common.ids import uuid7
from support.usage_pipeline import Caller, UsagePipeline

DAY = utc_now().date() - timedelta(days=3)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)


async def reconciliation(
    pipeline: UsagePipeline, user_id: UUID, *roles: Role.ValueType, **fields: Any
) -> list[pb.ReconciledDay]:
    days = {"first_day": DAY.isoformat(), "last_day": DAY.isoformat()}
    request = pb.GetReconciliationRequest(**{**days, **fields})
    return list((await pipeline.billing.ask("GetReconciliation", request, user_id, *roles)).days)


def figures(day: pb.ReconciledDay) -> tuple[int, int, int, int]:
    return day.forwarded, day.recorded, day.rated, day.invoiced


def named(day: pb.ReconciledDay) -> dict[str, int]:
    assert all(each.message for each in day.differences)
    return {each.code: each.events for each in day.differences}


async def test_late_usage_agrees_by_itself(pipeline: UsagePipeline) -> None:
    caller = Caller(await pipeline.events.priced_service("0.5"))
    merchant_id = caller.priced.merchant_id
    # usage-svc is stopped: the calls are in Kafka.
    await pipeline.send([caller.event(NOON) for _ in range(10)], [caller.forwarded(DAY, 10)])
    assert await pipeline.billing.draft() == []
    assert await reconciliation(pipeline, merchant_id, MERCHANT) == []
    async with pipeline.running():
        await pipeline.rated(10)
        await pipeline.forwarded(10)
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert (figures(day), named(day)) == ((10, 10, 10, 0), {"not_invoiced_yet": 10})
    assert day.is_reconciled
    (draft,) = await pipeline.billing.draft()
    assert draft.subtotal.units == 5
    await pipeline.billing.issue(DAY.isoformat())
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert (figures(day), named(day), day.is_reconciled) == ((10, 10, 10, 10), {}, True)
    assert await reconciliation(pipeline, uuid7(), ADMIN) == [day]


async def test_every_difference_has_its_name(pipeline: UsagePipeline) -> None:
    caller = Caller(await pipeline.events.priced_service("0.5"))
    merchant_id = caller.priced.merchant_id
    events = [caller.event(NOON) for _ in range(5)]
    events += [caller.event(NOON, status_code=500), caller.event(NOON, is_test=True)]
    events += [caller.event(NOON, is_continuation=True), caller.event(NOON, status_code=0)]
    # One more was forwarded than Kafka has.
    async with pipeline.running():
        await pipeline.send(events, [caller.forwarded(DAY, 10)])
        await pipeline.rated(6)
        await pipeline.forwarded(10)
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert figures(day) == (10, 8, 6, 0)
    assert named(day) == {
        "dead_letter": 1,
        "forwarded_not_recorded": 1,
        "test_calls": 1,
        "continuations": 1,
        "not_charged": 1,
        "not_invoiced_yet": 5,
    }
    assert not day.is_reconciled
    # Its gateway sends what is lost again.
    async with pipeline.running():
        await pipeline.send([caller.event(NOON)])
        await pipeline.rated(7)
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert "forwarded_not_recorded" not in named(day)


async def test_usage_that_billing_has_no_price_of_is_named(pipeline: UsagePipeline) -> None:
    caller = Caller(await pipeline.events.priced_service("0.5"))
    await pipeline.billing.execute("DELETE FROM price_versions")
    async with pipeline.running():
        await pipeline.send([caller.event(NOON)], [caller.forwarded(DAY, 1)])
        await pipeline.rated(1)
        await pipeline.forwarded(1)
    (day,) = await reconciliation(pipeline, caller.priced.merchant_id, MERCHANT)
    assert (named(day), day.is_reconciled) == ({"price_unknown": 1}, False)
    await pipeline.billing.execute("UPDATE usage_counters SET requests = 0")
    (day,) = await reconciliation(pipeline, caller.priced.merchant_id, MERCHANT)
    assert named(day) == {"not_rated_yet": 1}


async def test_each_role_sees_its_own_part(pipeline: UsagePipeline) -> None:
    one = Caller(await pipeline.events.priced_service("0.5"))
    other = Caller(one.priced)
    elsewhere = Caller(await pipeline.events.priced_service("0.5"), one.consumer_id)
    async with pipeline.running():
        await pipeline.send([one.event(NOON)], [one.forwarded(DAY, 1)])
        await pipeline.send([other.event(NOON) for _ in range(2)], [other.forwarded(DAY, 2)])
        await pipeline.send([elsewhere.event(NOON) for _ in range(4)], [elsewhere.forwarded(DAY, 4)])
        await pipeline.rated(7)
        await pipeline.forwarded(7)

    async def seen(user_id: UUID, *roles: Role.ValueType, **fields: Any) -> dict[str, int]:
        days = await reconciliation(pipeline, user_id, *roles, **fields)
        assert all(figures(day) == (day.recorded, day.recorded, day.recorded, 0) for day in days)
        return {day.merchant_id: day.recorded for day in days}

    first, second = str(one.priced.merchant_id), str(elsewhere.priced.merchant_id)
    assert await seen(uuid7(), ADMIN) == {first: 3, second: 4}
    assert await seen(uuid7(), ADMIN, merchant_id=second) == {second: 4}
    # Whatever a merchant or a consumer asks for, it is their own.
    assert await seen(one.priced.merchant_id, MERCHANT, merchant_id=second) == {first: 3}
    assert await seen(one.consumer_id, CONSUMER) == {first: 1, second: 4}
    assert await seen(other.consumer_id, CONSUMER, merchant_id=second) == {first: 2}
    assert await seen(uuid7(), CONSUMER) == {}
    # An account with several roles asks in one.
    assert await seen(one.priced.merchant_id, ADMIN, MERCHANT, role=MERCHANT) == {first: 3}
    with pytest.raises(PermissionDeniedError):
        await seen(one.consumer_id, CONSUMER, role=ADMIN)
    before = (DAY - timedelta(days=62)).isoformat()
    for fields in ({"first_day": before}, {"last_day": before}):
        with pytest.raises(InvalidArgumentError):
            await seen(one.consumer_id, CONSUMER, **fields)
