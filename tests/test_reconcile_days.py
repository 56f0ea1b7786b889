"""What was forwarded, recorded, rated and invoiced is one figure, or the difference has a name."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.client import invoke
from ams_common.clock import utc_now
from ams_common.errors import InvalidArgumentError, PermissionDeniedError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
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
    """Differences of events and calls."""
    return {each.code: each.events for each in day.differences if each.events}


def bytes_named(day: pb.ReconciledDay) -> dict[str, tuple[int, int]]:
    """Differences of bytes: of requests, and of answers."""
    return {
        each.code: (each.request_bytes, each.response_bytes)
        for each in day.differences
        if each.request_bytes or each.response_bytes
    }


def byte_figures(day: pb.ReconciledDay) -> list[tuple[int, int, int]]:
    return [(each.recorded, each.rated, each.invoiced) for each in (day.request_bytes, day.response_bytes)]


async def test_late_usage_agrees_by_itself(pipeline: UsagePipeline) -> None:
    caller = Caller(await pipeline.events.priced_service("0.5"))
    merchant_id, month = caller.priced.merchant_id, DAY.isoformat()[:7]
    # usage-svc is stopped: the calls are in Kafka. Drafts are made, of nothing.
    await pipeline.send([caller.event(NOON) for _ in range(10)], [caller.forwarded(DAY, 10)])
    assert await pipeline.billing.draft() == []
    assert await reconciliation(pipeline, merchant_id, MERCHANT) == []
    assert not (await pipeline.billing.revenue(merchant_id, month)).totals
    # It is started, and nobody does anything else.
    async with pipeline.running():
        await pipeline.drafted(10)
        await pipeline.forwarded(10)
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert (figures(day), named(day)) == ((10, 10, 10, 0), {"not_invoiced_yet": 10})
    assert (byte_figures(day), bytes_named(day)) == (
        [(100, 100, 0), (1000, 1000, 0)],
        {"bytes_not_invoiced_yet": (100, 1000)},
    )
    assert day.is_reconciled
    [draft] = await pipeline.billing.invoices()
    assert (draft.status, to_decimal(draft.subtotal)) == (pb.INVOICE_DRAFT, Decimal(5))
    [spent] = (await pipeline.billing.spend(caller.consumer_id, month)).totals
    [earned] = (await pipeline.billing.revenue(merchant_id, month)).totals
    assert to_decimal(spent) == to_decimal(earned.gross) == 5
    await pipeline.billing.issue(DAY.isoformat())
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert (figures(day), list(day.differences), day.is_reconciled) == ((10, 10, 10, 10), [], True)
    assert byte_figures(day) == [(100, 100, 100), (1000, 1000, 1000)]
    assert await reconciliation(pipeline, uuid7(), ADMIN) == [day]
    await pipeline.billing.check()


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
    # The part of a call has bytes as a call has; what is charged for is its rule's business.
    assert byte_figures(day) == [(80, 70, 0), (800, 700, 0)]
    assert bytes_named(day) == {
        "bytes_of_test_calls": (10, 100),
        "bytes_not_charged": (10, 100),
        "bytes_not_invoiced_yet": (60, 600),
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


async def test_a_pull_hides_no_lost_call(pipeline: UsagePipeline) -> None:
    caller = Caller(await pipeline.events.priced_service("0.5"))
    merchant_id, registry = caller.priced.merchant_id, uuid7().bytes
    # Of ten calls Kafka has lost one; the registry has metered a pull.
    async with pipeline.running():
        await pipeline.send([caller.event(NOON) for _ in range(9)], [caller.forwarded(DAY, 10)])
        await pipeline.send([caller.event(NOON)], [caller.forwarded(DAY, 1, registry)])
        await pipeline.rated(10)
        await pipeline.forwarded(11)
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert (figures(day), day.is_reconciled) == ((11, 10, 10, 0), False)
    assert named(day)["forwarded_not_recorded"] == 1
    async with pipeline.running():
        await pipeline.send([caller.event(NOON)])
        await pipeline.rated(11)
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert (figures(day), day.is_reconciled) == ((11, 11, 11, 0), True)


async def test_bytes_that_differ_are_named_where_counts_agree(pipeline: UsagePipeline) -> None:
    caller = Caller(await pipeline.events.priced_service("0.5"))
    merchant_id = caller.priced.merchant_id
    async with pipeline.running():
        await pipeline.send([caller.event(NOON) for _ in range(3)], [caller.forwarded(DAY, 3)])
        await pipeline.drafted(3)
        await pipeline.forwarded(3)
    await pipeline.billing.issue(DAY.isoformat())
    for change, differing in (
        (
            "request_bytes = 29, response_bytes = 305",
            {"bytes_not_rated": (1, 0), "bytes_rated_not_recorded": (0, 5)},
        ),
        ("request_bytes = 30, response_bytes = 200", {"bytes_not_rated": (0, 100)}),
    ):
        await pipeline.billing.execute(f"UPDATE usage_counters SET {change}")
        (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
        assert (figures(day), named(day), day.is_reconciled) == ((3, 3, 3, 3), {}, False)
        found = bytes_named(day)
        assert {code: found[code] for code in differing} == differing
        # What invoices say beyond the counters, and what the counters have beyond them.
        assert found.keys() - differing.keys() <= {"bytes_invoiced_not_rated", "bytes_not_invoiced_yet"}
    assert found["bytes_invoiced_not_rated"] == (0, 100)
    await pipeline.billing.execute("UPDATE usage_counters SET response_bytes = 300, requests = 1")
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert named(day) == {"not_rated_yet": 2, "invoiced_not_rated": 2}
    await pipeline.billing.execute("UPDATE usage_counters SET requests = 3")
    (day,) = await reconciliation(pipeline, merchant_id, MERCHANT)
    assert (figures(day), list(day.differences)) == ((3, 3, 3, 3), [])


async def test_what_one_consumer_has_too_many_hides_nothing_that_another_lacks(
    pipeline: UsagePipeline,
) -> None:
    one = Caller(await pipeline.events.priced_service("0.5"))
    other = Caller(one.priced)
    merchant_id = one.priced.merchant_id
    async with pipeline.running():
        await pipeline.send(
            [each.event(NOON) for each in (one, other) for _ in range(2)],
            [one.forwarded(DAY, 3), other.forwarded(DAY, 1)],
        )
        await pipeline.rated(4)
        await pipeline.forwarded(4)
    told, counted = await pipeline.day_digests(DAY)
    assert told == counted and set(told) == {str(merchant_id)}
    changed = (
        "UPDATE usage_counters SET requests = requests + $2, request_bytes = request_bytes + $2,"
        " events = events + 9 WHERE consumer_id = $1"
    )
    await pipeline.billing.execute(changed, one.consumer_id, -1)
    await pipeline.billing.execute(changed, other.consumer_id, 1)
    told, counted = await pipeline.day_digests(DAY)
    assert told != counted
    for user_id, role in ((merchant_id, MERCHANT), (uuid7(), ADMIN)):
        (day,) = await reconciliation(pipeline, user_id, role)
        # All four figures agree in the sum.
        assert figures(day) == (4, 4, 4, 0)
        assert named(day) == {
            "forwarded_not_recorded": 1,
            "recorded_not_forwarded": 1,
            "not_rated_yet": 1,
            "rated_not_recorded": 1,
            "not_invoiced_yet": 4,
        }
        assert bytes_named(day) == {
            "bytes_not_rated": (1, 0),
            "bytes_rated_not_recorded": (1, 0),
            "bytes_not_invoiced_yet": (40, 400),
        }
        assert not day.is_reconciled
    (day,) = await reconciliation(pipeline, one.consumer_id, CONSUMER)
    assert named(day) == {"forwarded_not_recorded": 1, "not_rated_yet": 1, "not_invoiced_yet": 1}
    (day,) = await reconciliation(pipeline, other.consumer_id, CONSUMER)
    assert named(day) == {"recorded_not_forwarded": 1, "rated_not_recorded": 1, "not_invoiced_yet": 3}


async def test_a_dead_letter_of_one_consumer_hides_no_loss_of_another(pipeline: UsagePipeline) -> None:
    one = Caller(await pipeline.events.priced_service("0.5"))
    other = Caller(one.priced)
    # What of the first one waits its gateway hasn't told of yet; of the other a call is lost.
    async with pipeline.running():
        await pipeline.send([one.event(NOON, status_code=0)])
        await pipeline.send([other.event(NOON)], [other.forwarded(DAY, 2)])
        await pipeline.dead_letter()
        await pipeline.rated(1)
        await pipeline.forwarded(2)
    (day,) = await reconciliation(pipeline, one.priced.merchant_id, MERCHANT)
    assert named(day) == {"dead_letter": 1, "forwarded_not_recorded": 1, "not_invoiced_yet": 1}


async def test_as_many_merchants_as_may_be_asked_for_are_told_of_and_more_are_refused(
    pipeline: UsagePipeline,
) -> None:
    add = (
        "INSERT INTO usage_counters (day, merchant_id, consumer_id, api_key_id, service_id, charge_class,"
        " events, requests, request_bytes, response_bytes, last_offsets)"
        " SELECT $1, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'served',"
        " 1000000, 1000000, 1000000000000, 1000000000000, '{}' FROM generate_series(1, $2)"
    )
    # Nothing of it is recorded, so each differs, and by much.
    await pipeline.billing.execute(add, DAY, 5_000)
    # About a second's work, on a machine that does nothing else.
    answer = await invoke(
        pipeline.billing.stub.GetReconciliation,
        pb.GetReconciliationRequest(first_day=DAY.isoformat(), last_day=DAY.isoformat()),
        token=pipeline.billing.issuer.user_token(uuid7(), ADMIN),
        timeout_s=60,
    )
    days = answer.days
    assert len(days) == 5_000
    assert not any(day.is_reconciled for day in days)
    await pipeline.billing.execute(add, DAY, 1)
    with pytest.raises(InvalidArgumentError, match="fewer days"):
        await reconciliation(pipeline, uuid7(), ADMIN)


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
