"""The RPC about what a merchant earns."""

from dataclasses import dataclass

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import Clock, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.interceptors import Context

from billing_svc.generation import draft_month
from billing_svc.invoices import InvoiceScope
from billing_svc.messages import revenue_message
from billing_svc.periods import period_of
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
            contents = await draft_month(store, InvoiceScope(period, current_user_id(), None))
        return revenue_message(period, contents)
