"""The RPCs about what a merchant earns."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import Clock, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError
from ams_common.interceptors import Context
from ams_common.live_answers import LiveAnswers

from billing_svc.commission import rate_for
from billing_svc.messages import revenue_message
from billing_svc.periods import first_day_of, last_day_of, period_of
from billing_svc.rating import RatedLine, Usage, rate_usage
from billing_svc.revenue import revenue_by_service, revenue_totals
from billing_svc.store import Store


@dataclass(kw_only=True, eq=False)
class RevenueRpcs:
    database: Database[Store]
    clock: Clock = utc_now
    live_revenue: LiveAnswers[pb.BatchGetMerchantRevenueResponse] = field(default_factory=LiveAnswers)

    async def GetMerchantRevenue(
        self, request: pb.GetMerchantRevenueRequest, context: Context
    ) -> pb.GetMerchantRevenueResponse:
        period = request.period or period_of(self.clock())
        return (await self._revenues(current_user_id(), [period])).revenues[0]

    async def BatchGetMerchantRevenue(
        self, request: pb.BatchGetMerchantRevenueRequest, context: Context
    ) -> pb.BatchGetMerchantRevenueResponse:
        return await self._revenues(current_user_id(), request.periods)

    def WatchMerchantRevenue(
        self, request: pb.BatchGetMerchantRevenueRequest, context: Context
    ) -> AsyncGenerator[pb.BatchGetMerchantRevenueResponse, None]:
        merchant_id = current_user_id()

        async def ask() -> pb.BatchGetMerchantRevenueResponse:
            return await self._revenues(merchant_id, request.periods)

        return self.live_revenue.watch(merchant_id, request.SerializeToString(deterministic=True), ask)

    async def _revenues(
        self, merchant_id: UUID, periods: Sequence[str]
    ) -> pb.BatchGetMerchantRevenueResponse:
        async with self.database.read() as store:
            rates = await store.list_commission_rates()
            months = [await merchant_lines(store, merchant_id, period) for period in periods]
        return pb.BatchGetMerchantRevenueResponse(
            revenues=[
                _revenue_of(period, lines, rate_for(period, rates))
                for period, lines in zip(periods, months, strict=True)
            ]
        )


def _revenue_of(
    period: str, lines: Mapping[UUID, Sequence[RatedLine]], rate: Decimal | None
) -> pb.GetMerchantRevenueResponse:
    if rate is None:
        raise FailedPreconditionError("commission_rate_unknown", "No commission rate holds for that month.")
    services = revenue_by_service(line for own in lines.values() for line in own)
    return revenue_message(period, services, revenue_totals(lines, rate))


async def merchant_lines(store: Store, merchant_id: UUID, period: str) -> dict[UUID, tuple[RatedLine, ...]]:
    """What each consumer's usage of the merchant's services in a month comes to."""
    usages: defaultdict[UUID, list[Usage]] = defaultdict(list)
    for each in await store.list_usage_of_merchant(
        merchant_id=merchant_id,
        first_day=first_day_of(period),
        last_day=last_day_of(period),
    ):
        usages[each.usage.consumer_id].append(each.usage)
    return {consumer_id: rate_usage(own).lines for consumer_id, own in usages.items()}
