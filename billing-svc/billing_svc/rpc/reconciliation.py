"""The RPC that compares what was forwarded, recorded, rated and invoiced."""

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.context import Caller, current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError, PermissionDeniedError
from ams_common.interceptors import Context

from billing_svc.reconciliation import DayKey, ReconciledDay, Recorded, reconcile
from billing_svc.reconciliation_store import ReconciliationStore
from billing_svc.store import Store
from billing_svc.usage_client import UsageClient

_MAX_DAYS = 62
# As many as usage-svc tells of.
_MAX_ROWS = 20_000


@dataclass(kw_only=True, eq=False)
class ReconciliationRpcs:
    database: Database[Store]
    usage: UsageClient

    async def GetReconciliation(
        self, request: pb.GetReconciliationRequest, context: Context
    ) -> pb.Reconciliation:
        first_day, last_day = _days(request)
        role = _role(current_caller(), request.role)
        merchant_id = UUID(request.merchant_id) if role == ADMIN and request.merchant_id else None
        if role == MERCHANT:
            merchant_id = current_user_id()
        consumer_id = current_user_id() if role == CONSUMER else None
        # Billing first: what comes meanwhile is recorded and not rated yet, never the other way round.
        async with self.database.read() as reading:
            rated = await ReconciliationStore(reading.connection).list_rated_days(
                first_day=first_day,
                last_day=last_day,
                merchant_id=merchant_id,
                consumer_id=consumer_id,
                limit=_MAX_ROWS + 1,
            )
        if len(rated) > _MAX_ROWS:
            raise _invalid(
                "lastDay", "leaves too many days of merchants: ask for fewer days, or one merchant"
            )
        totals = await self.usage.list_day_totals(
            first_day, last_day, merchant_id=merchant_id, consumer_id=consumer_id
        )
        found = reconcile(dict(map(_recorded, totals)), dict(rated))
        return pb.Reconciliation(days=map(_message, found))


def _days(request: pb.GetReconciliationRequest) -> tuple[date, date]:
    first_day, last_day = date.fromisoformat(request.first_day), date.fromisoformat(request.last_day)
    if not timedelta(0) <= last_day - first_day < timedelta(days=_MAX_DAYS):
        raise _invalid("lastDay", f"must be firstDay or one of the {_MAX_DAYS - 1} days after it")
    return first_day, last_day


def _role(caller: Caller, asked: Role.ValueType) -> Role.ValueType:
    """The one that is asked for; unset: the first that the caller holds. Raises PermissionDeniedError."""
    held = [role for role in (ADMIN, MERCHANT, CONSUMER) if role in caller.roles]
    if asked and asked not in held:
        raise PermissionDeniedError("role_not_held", "You can't act in that role here.")
    return asked or held[0]


def _recorded(total: usage_pb.DayTotal) -> tuple[DayKey, Recorded]:
    return (date.fromisoformat(total.day), UUID(total.merchant_id)), Recorded(
        forwarded=total.forwarded_events,
        events=total.recorded_events,
        calls=total.requests,
        test_events=total.test_events,
        dead_letters=total.dead_letters,
    )


def _message(day: ReconciledDay) -> pb.ReconciledDay:
    return pb.ReconciledDay(
        day=day.day.isoformat(),
        merchant_id=str(day.merchant_id),
        forwarded=day.recorded.forwarded,
        recorded=day.recorded.events,
        rated=day.rated.rated,
        invoiced=day.rated.invoiced,
        differences=[
            pb.Difference(code=each.code, events=each.events, message=each.message)
            for each in day.differences
        ],
        is_reconciled=day.is_reconciled,
    )


def _invalid(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "range_invalid", f"{field} {description}.", [FieldViolation(field, description)]
    )
