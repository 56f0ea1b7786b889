"""Running spend and revenue over the real server and database, as they change."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT, Role
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from billing_svc.store import Store
from billing_svc.testing import Billing, Events, Group

Watch = Callable[..., Any]
THIS_MONTH = pb.BatchGetConsumerSpendRequest(
    queries=[pb.SpendQuery(first_day="2026-11-01", last_day="2026-11-30", group_by=pb.SPEND_BY_SERVICE)]
)
REVENUE = pb.BatchGetMerchantRevenueRequest(periods=["2026-11", "2026-10"])


@pytest.fixture
def watch(billing: Billing) -> Watch:
    def open_stream(method: str, request: Any, user_id: UUID, role: Role.ValueType) -> Any:
        token = billing.issuer.user_token(user_id, role)
        metadata = (("authorization", f"Bearer {token}"),)
        return getattr(billing.stub, method)(request, metadata=metadata, timeout=30)

    return open_stream


def spent(answer: pb.BatchGetConsumerSpendResponse) -> Decimal:
    return sum((to_decimal(total) for total in answer.spends[0].totals), Decimal(0))


def earned(answer: pb.BatchGetMerchantRevenueResponse) -> Decimal:
    return sum((to_decimal(total.gross) for total in answer.revenues[0].totals), Decimal(0))


async def following(stream: Any, amount_of: Callable[[Any], Decimal], amount: str) -> Any:
    """The first answer of that amount."""
    async with asyncio.timeout(20):
        while amount_of(answer := await stream.read()) != Decimal(amount):
            pass
    return answer


async def test_figures_come_at_once_and_again_when_they_have_changed(events: Events, watch: Watch) -> None:
    group = Group(await events.priced_service("0.125"), uuid7())
    await events.usage(group.total(2))
    spend = watch("WatchConsumerSpend", THIS_MONTH, group.consumer_id, CONSUMER)
    revenue = watch("WatchMerchantRevenue", REVENUE, group.priced.merchant_id, MERCHANT)
    assert spent(await spend.read()) == Decimal("0.25")
    assert earned(await revenue.read()) == Decimal("0.25")
    await events.usage(group.total(8))
    answer = await following(spend, spent, "1.00")
    assert [each.group for each in answer.spends[0].groups] == [str(group.priced.service_id)]
    answer = await following(revenue, earned, "1.00")
    assert [each.period for each in answer.revenues] == ["2026-11", "2026-10"]
    spend.cancel()
    revenue.cancel()


async def test_nobody_watches_what_is_somebody_elses(events: Events, watch: Watch) -> None:
    group = Group(await events.priced_service("1"), uuid7())
    await events.usage(group.total(2))
    for method, request, amount_of, role in (
        ("WatchConsumerSpend", THIS_MONTH, spent, CONSUMER),
        ("WatchMerchantRevenue", REVENUE, earned, MERCHANT),
    ):
        stream = watch(method, request, uuid7(), role)
        assert amount_of(await stream.read()) == 0
        stream.cancel()


async def test_whoever_may_not_ask_may_not_watch(watch: Watch) -> None:
    for method, request, role in (
        ("WatchConsumerSpend", THIS_MONTH, MERCHANT),
        ("WatchMerchantRevenue", REVENUE, CONSUMER),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch(method, request, uuid7(), role).read()
        assert raised.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_what_makes_no_sense_is_refused(watch: Watch) -> None:
    wrong = pb.BatchGetConsumerSpendRequest(
        queries=[pb.SpendQuery(first_day="2026-11-02", last_day="2026-11-01")]
    )
    for method, request, role in (
        ("WatchConsumerSpend", wrong, CONSUMER),
        ("WatchMerchantRevenue", pb.BatchGetMerchantRevenueRequest(periods=["November"]), MERCHANT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch(method, request, uuid7(), role).read()
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_the_database_is_asked_once_for_all_open_pages(
    events: Events, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, asked = Group(await events.priced_service("1"), uuid7()), 0
    await events.usage(group.total(1))
    really = Store.list_usage_of_keys

    async def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        asked += 1
        return await really(*args, **kwargs)

    monkeypatch.setattr(Store, "list_usage_of_keys", counting)
    streams = [watch("WatchConsumerSpend", THIS_MONTH, group.consumer_id, CONSUMER) for _ in range(15)]
    assert {spent(answer) for answer in await asyncio.gather(*(stream.read() for stream in streams))} == {1}
    started = asyncio.get_running_loop().time()
    await events.usage(group.total(2))
    await asyncio.gather(*(following(stream, spent, "2") for stream in streams))
    # Once a second at most, however many there are.
    assert asked <= 3 + (asyncio.get_running_loop().time() - started)
    for stream in streams:
        stream.cancel()
