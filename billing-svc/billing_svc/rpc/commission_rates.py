"""The RPCs about commission rates."""

from dataclasses import dataclass

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import Clock, utc_now
from ams_common.database import Database
from ams_common.errors import AlreadyExistsError, FieldViolation, InvalidArgumentError
from ams_common.interceptors import Context

from billing_svc.commission import parse_rate
from billing_svc.messages import rate_message
from billing_svc.periods import period_of
from billing_svc.store import Store


@dataclass(kw_only=True, eq=False)
class CommissionRateRpcs:
    database: Database[Store]
    clock: Clock = utc_now

    async def ListCommissionRates(
        self, request: pb.ListCommissionRatesRequest, context: Context
    ) -> pb.ListCommissionRatesResponse:
        async with self.database.read() as store:
            rates = await store.list_commission_rates()
        return pb.ListCommissionRatesResponse(commission_rates=map(rate_message, rates))

    async def CreateCommissionRate(
        self, request: pb.CreateCommissionRateRequest, context: Context
    ) -> pb.CommissionRate:
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.CommissionRate)) is not None:
                return done
            try:
                rate = parse_rate(request.rate)
            except ValueError as error:
                raise _invalid("rate_invalid", "rate", str(error)) from None
            # Of a month that has begun there may be invoices by the rate that held.
            if request.starts_in <= period_of(self.clock()):
                raise _invalid("starts_in_invalid", "startsIn", "must be a month that has not begun")
            added = await change.store.add_commission_rate(rate=rate, starts_in=request.starts_in)
            if added is None:
                raise AlreadyExistsError(
                    "commission_rate_exists", "That month has a commission rate already."
                )
            answer = rate_message(added)
            change.audit("commission_rate", added.starts_in, rate=answer.rate)
            await change.remember(request, answer)
        return answer


def _invalid(code: str, field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(code, f"{field} {description}.", [FieldViolation(field, description)])
