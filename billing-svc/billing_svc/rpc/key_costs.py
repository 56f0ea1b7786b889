"""The RPC of KeyCostService: what single keys have cost since a day."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import key_cost_service_pb2 as pb
from ams.billing.v1 import key_cost_service_pb2_grpc as rpc
from ams_common.clock import Clock, utc_now
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.interceptors import Context
from ams_common.money import to_money

from billing_svc.day_spend import share_out_month
from billing_svc.periods import day_of, first_day_of, last_day_of, month_of, parse_day
from billing_svc.store import Store

_LONGEST = timedelta(days=366)


@dataclass(kw_only=True, eq=False)
class KeyCostService(rpc.KeyCostServiceServicer):
    database: Database[Store]
    clock: Clock = utc_now

    async def BatchGetKeyCost(
        self, request: pb.BatchGetKeyCostRequest, context: Context
    ) -> pb.BatchGetKeyCostResponse:
        today = day_of(self.clock())
        days = [parse_day(scope.since) for scope in request.scopes]
        violations = [
            FieldViolation(f"scopes[{index}].since", "must not lie more than a year ago")
            for index, day in enumerate(days)
            if day < today - _LONGEST
        ]
        if violations:
            raise InvalidArgumentError("invalid_argument", "Some scopes are not valid.", violations)
        async with self.database.read() as store:
            costs = [
                await _cost_since(store, UUID(scope.consumer_id), UUID(scope.api_key_id), day, today)
                for scope, day in zip(request.scopes, days, strict=True)
            ]
        return pb.BatchGetKeyCostResponse(
            costs=[
                pb.KeyCost(amounts=[to_money(amount, currency) for currency, amount in sorted(cost.items())])
                for cost in costs
            ]
        )


async def _cost_since(
    store: Store, consumer_id: UUID, api_key_id: UUID, since: date, today: date
) -> dict[str, Decimal]:
    """By currency. Of the first month: the whole, less what it came to before that day."""
    costs: defaultdict[str, Decimal] = defaultdict(Decimal)
    for month in _months(since, today):
        whole = await _share(store, consumer_id, api_key_id, month, last_day_of(month))
        for currency, amount in whole.items():
            costs[currency] += amount
        if first_day_of(month) < since:
            before = await _share(store, consumer_id, api_key_id, month, since - timedelta(days=1))
            for currency, amount in before.items():
                costs[currency] -= amount
    # Tiers may make what others used meanwhile dearer than the key: it costs nothing then, and never less.
    return {currency: amount for currency, amount in costs.items() if amount > 0}


async def _share(
    store: Store, consumer_id: UUID, api_key_id: UUID, month: str, through: date
) -> dict[str, Decimal]:
    """What the key has of the month until and with a day."""
    _, shares = share_out_month(
        await store.list_usage_of_keys([consumer_id], {month: False}, through=through)
    )
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for share in shares:
        if share.group_id.api_key_id == api_key_id:
            sums[share.currency] += share.amount
    return sums


def _months(since: date, today: date) -> Iterator[str]:
    month = month_of(since)
    while first_day_of(month) <= today:
        yield month
        month = month_of(last_day_of(month) + timedelta(days=1))
