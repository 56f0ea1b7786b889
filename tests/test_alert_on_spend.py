"""Alerts about spend: what usage-svc counts and billing-svc rates, each as it is."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, cast
from uuid import UUID

import grpc
import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import alert_service_pb2 as pb
from ams.usage.v1 import alert_service_pb2_grpc as rpc
from ams_common.client import ServiceToken, invoke
from ams_common.clock import utc_now
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_rating.prices import Component, Graduated, Meter, Price, Tier
from support.usage_pipeline import Caller, UsagePipeline
from usage_svc.alerting.evaluating import AlertEvaluator
from usage_svc.alerting.spend import SpendClient
from usage_svc.rpc.alerts import AlertService

# The month before this one: its 20th is over, and so are the days before it.
LAST_DAY = utc_now().date().replace(day=1) - timedelta(days=1)
# Ten calls at a euro each, then ten cents.
TIERED = Price(
    "EUR", (Component(Meter.REQUESTS, Graduated((Tier(10, Decimal(1)), Tier(None, Decimal("0.1"))))),)
)
SPENDS: dict[str, Any] = {"metric": pb.SPEND, "currency_code": "EUR", "sends_mail": True}


def at(day: int) -> datetime:
    """Noon of a day of that month."""
    return datetime(LAST_DAY.year, LAST_DAY.month, day, 12, tzinfo=UTC)


class Alerts:
    """Makes rules as their owners do, on the first of the month, and looks at them."""

    def __init__(self, pipeline: UsagePipeline, channel: grpc.aio.Channel) -> None:
        self._pipeline = pipeline
        self._stub = rpc.AlertServiceStub(channel)

    async def create(self, user_id: UUID, role: Role.ValueType, **fields: Any) -> None:
        request = pb.CreateAlertRuleRequest(name="mine", **{**SPENDS, **fields})
        await self._ask("CreateAlertRule", request, user_id, role)

    async def fired(self, user_id: UUID, role: Role.ValueType) -> list[tuple[str, str]]:
        found = await self._ask("ListAlerts", pb.ListAlertsRequest(), user_id, role)
        return sorted((each.threshold, each.value) for each in found.alerts)

    async def look(self, now: datetime) -> None:
        pipeline = self._pipeline
        token = pipeline.billing.issuer.service_token("usage-svc")
        client = SpendClient(pipeline.billing.stub, cast("ServiceToken", _OwnToken(token)))
        await AlertEvaluator(database=pipeline.usage, spend=client, clock=lambda: now).evaluate_all()

    async def _ask(self, method: str, request: Any, user_id: UUID, role: Role.ValueType) -> Any:
        token = self._pipeline.billing.issuer.user_token(user_id, role)
        return await invoke(getattr(self._stub, method), request, token=token)


class _OwnToken:
    """usage-svc's own, without asking identity-svc."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get(self) -> str:
        return self._token


@pytest.fixture
async def alerts(pipeline: UsagePipeline, serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]]) -> Alerts:
    service = AlertService(
        database=pipeline.usage,
        pseudonyms=pipeline.pseudonyms,
        sealer=Sealer(DEVELOPMENT_SEALING_KEYS),
        allow_private_webhooks=False,
        clock=lambda: at(1),
    )
    add = partial(rpc.add_AlertServiceServicer_to_server, service)
    return Alerts(pipeline, await serve_rpc(pb.DESCRIPTOR.services_by_name["AlertService"], add))


@pytest.fixture
async def caller(pipeline: UsagePipeline) -> Caller:
    return Caller(await pipeline.events.priced_service(TIERED))


async def use(pipeline: UsagePipeline, *calls: tuple[Caller, int, int]) -> None:
    """So many calls of each caller on a day each."""
    events = [[caller.event(at(day)) for _ in range(count)] for caller, day, count in calls]
    async with pipeline.running():
        for each in events:
            await pipeline.send(each)
        await pipeline.rated(sum(map(len, events)))


async def test_a_month_is_all_of_it_and_a_day_what_it_adds_to_the_days_before(
    pipeline: UsagePipeline, alerts: Alerts, caller: Caller
) -> None:
    await use(pipeline, (caller, 19, 8), (caller, 20, 4), (caller, 21, 30))
    consumer = caller.consumer_id, CONSUMER
    await alerts.create(*consumer, period=pb.ALERT_DAY, thresholds=["2.20", "2.21", "8.01"])
    await alerts.look(at(19))
    assert await alerts.fired(*consumer) == [("2.20", "8.00"), ("2.21", "8.00")]
    # Two of the 20th are the last that cost a euro.
    await alerts.look(at(20))
    assert await alerts.fired(*consumer) == [("2.20", "2.20"), ("2.20", "8.00"), ("2.21", "8.00")]
    await alerts.create(*consumer, period=pb.ALERT_MONTH, thresholds=["13.2", "13.21"])
    await alerts.look(at(28))
    assert ("13.2", "13.20") in await alerts.fired(*consumer)
    assert len(await alerts.fired(*consumer)) == 4


async def test_the_keys_of_a_consumer_share_what_a_day_comes_to(
    pipeline: UsagePipeline, alerts: Alerts, caller: Caller
) -> None:
    other = Caller(caller.priced, caller.consumer_id)
    await use(pipeline, (caller, 19, 3), (caller, 20, 2), (other, 20, 1))
    consumer = caller.consumer_id, CONSUMER
    day: dict[str, Any] = {"period": pb.ALERT_DAY}
    await alerts.create(*consumer, api_key_id=str(caller.api_key_id), thresholds=["2", "2.01"], **day)
    await alerts.create(*consumer, api_key_id=str(other.api_key_id), thresholds=["1", "1.01"], **day)
    await alerts.look(at(20))
    assert await alerts.fired(*consumer) == [("1", "1.00"), ("2", "2.00")]


async def test_a_merchant_learns_nothing_of_what_a_consumer_spends_elsewhere(
    pipeline: UsagePipeline, alerts: Alerts, caller: Caller
) -> None:
    elsewhere = Caller(await pipeline.events.priced_service("1000"), caller.consumer_id)
    await use(pipeline, (caller, 20, 5), (elsewhere, 20, 1))
    merchant = caller.priced.merchant_id, MERCHANT
    name = pipeline.pseudonyms.of_consumer(caller.priced.merchant_id, caller.consumer_id)
    for period in (pb.ALERT_DAY, pb.ALERT_MONTH):
        await alerts.create(*merchant, period=period, consumer=name, thresholds=["5", "5.01"])
        service_id = str(elsewhere.priced.service_id)
        await alerts.create(*merchant, period=period, consumer=name, service_id=service_id, thresholds=["1"])
        await alerts.create(*merchant, period=period, thresholds=["5", "5.01"])
    await alerts.look(at(20))
    assert await alerts.fired(*merchant) == [("5", "5.00")] * 4


async def test_a_key_is_watched_by_the_merchant_in_its_own_form_and_by_an_admin_by_its_id(
    pipeline: UsagePipeline, alerts: Alerts, caller: Caller
) -> None:
    """Each sees its share of what the consumer's tiers come to, and the merchant nothing of elsewhere."""
    elsewhere = Caller(
        await pipeline.events.priced_service("1000"), caller.consumer_id, api_key_id=caller.api_key_id
    )
    other_key = Caller(caller.priced, caller.consumer_id)
    await use(pipeline, (caller, 20, 5), (other_key, 20, 1), (elsewhere, 20, 1))
    merchant_id, admin = caller.priced.merchant_id, (uuid7(), ADMIN)
    form = pipeline.pseudonyms.of_key(merchant_id, caller.api_key_id)
    consumer = pipeline.pseudonyms.of_consumer(merchant_id, caller.consumer_id)
    of_merchant = {"merchant_id": str(merchant_id)}
    for period in (pb.ALERT_DAY, pb.ALERT_MONTH):
        day_or_month: dict[str, Any] = {"period": period, "thresholds": ["5", "5.01"]}
        await alerts.create(merchant_id, MERCHANT, key=form, **day_or_month)
        await alerts.create(merchant_id, MERCHANT, key=form, consumer=consumer, **day_or_month)
        await alerts.create(*admin, api_key_id=str(caller.api_key_id), **of_merchant, **day_or_month)
        await alerts.create(*admin, period=period, thresholds=["6", "6.01"], **of_merchant)
    await alerts.look(at(20))
    assert await alerts.fired(merchant_id, MERCHANT) == [("5", "5.00")] * 4
    assert await alerts.fired(*admin) == [("5", "5.00")] * 2 + [("6", "6.00")] * 2


async def test_an_hour_of_spend_can_not_be_asked_for(alerts: Alerts, caller: Caller) -> None:
    """Billing counts by days."""
    with pytest.raises(InvalidArgumentError, match="period must be the day or the month"):
        await alerts.create(caller.consumer_id, CONSUMER, period=pb.ALERT_HOUR, thresholds=["1"])
