"""The RPC about what a merchant earns."""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import Clock, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError
from ams_common.interceptors import Context

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

    async def GetMerchantRevenue(
        self, request: pb.GetMerchantRevenueRequest, context: Context
    ) -> pb.GetMerchantRevenueResponse:
        period = request.period or period_of(self.clock())
        async with self.database.read() as store:
            rate = rate_for(period, await store.list_commission_rates())
            lines = await merchant_lines(store, current_user_id(), period)
        if rate is None:
            raise FailedPreconditionError(
                "commission_rate_unknown", "No commission rate holds for that month."
            )
        services = revenue_by_service(line for own in lines.values() for line in own)
        return revenue_message(period, services, revenue_totals(lines, rate))


async def merchant_lines(store: Store, merchant_id: UUID, period: str) -> dict[UUID, tuple[RatedLine, ...]]:
    """What each consumer's usage of the merchant's services in a month comes to."""
    usages: defaultdict[UUID, list[Usage]] = defaultdict(list)
    for each in await store.list_usage_of_merchant(
        merchant_id=merchant_id,
        first_day=first_day_of(period),
        last_day=last_day_of(period),
        group_by="",
    ):
        usages[each.usage.consumer_id].append(each.usage)
    return {consumer_id: rate_usage(own).lines for consumer_id, own in usages.items()}
