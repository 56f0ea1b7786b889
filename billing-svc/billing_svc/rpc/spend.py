"""The RPC about what a consumer has spent."""

from dataclasses import dataclass

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import Clock, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.interceptors import Context
from ams_common.money import to_money

from billing_svc.invoices import draft_lines, totals_by_currency
from billing_svc.messages import line_message
from billing_svc.periods import period_of
from billing_svc.store import Store


@dataclass(kw_only=True, eq=False)
class SpendRpcs:
    database: Database[Store]
    clock: Clock = utc_now

    async def GetConsumerSpend(
        self, request: pb.GetConsumerSpendRequest, context: Context
    ) -> pb.GetConsumerSpendResponse:
        period = request.period or period_of(self.clock())
        async with self.database.read() as store:
            usages = await store.list_usage_of_consumer(consumer_id=current_user_id(), period=period)
        lines = draft_lines(usages)
        return pb.GetConsumerSpendResponse(
            period=period,
            lines=map(line_message, lines),
            totals=[to_money(total, currency) for currency, total in totals_by_currency(lines).items()],
        )
