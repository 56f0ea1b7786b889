"""The RPC that compares what was forwarded, recorded, rated and invoiced."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.context import Caller, current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError, PermissionDeniedError
from ams_common.interceptors import Context

from billing_svc.reconciliation import (
    KINDS,
    Amount,
    DayKey,
    Part,
    Rated,
    ReconciledDay,
    Recorded,
    reconcile,
)
from billing_svc.reconciliation_store import DayScope, ReconciliationStore
from billing_svc.store import Store
from billing_svc.usage_client import UsageClient

_MAX_DAYS = 62
# Days of merchants in an answer, with a dozen differences each: more would be too long for gRPC.
_MAX_ROWS = 5_000
# Merchants whose consumers are in memory at a time.
_MERCHANTS_TOGETHER = 500
# Of a day of which there is nothing.
_NO_DIGEST = "0"


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
        scope = DayScope(first_day, last_day, [merchant_id] if merchant_id else None, consumer_id)
        async with self.database.read() as reading:
            store = ReconciliationStore(reading.connection)
            digests = dict(await store.list_day_digests(**asdict(scope), limit=_MAX_ROWS + 1))
            _check_size(len(digests))
            rated = await store.list_rated_days(scope)
        totals = await self.usage.list_day_totals(
            first_day, last_day, merchant_id=merchant_id, consumer_id=consumer_id
        )
        recorded = {_key(total): _recorded(total) for total in totals}
        _check_size(len(recorded.keys() | rated.keys()))
        of_usage = {_key(total): total.digest for total in totals}
        # A consumer's own part has one consumer.
        differing = {
            key
            for key in recorded.keys() | rated.keys()
            if consumer_id is None and of_usage.get(key, _NO_DIGEST) != digests.get(key, _NO_DIGEST)
        }
        days = {
            key: reconcile(key, [Part(recorded.get(key, Recorded()), rated.get(key, Rated()))])
            for key in (recorded.keys() | rated.keys()) - differing
        }
        days |= await self._reconcile_by_consumer(differing)
        return pb.Reconciliation(
            days=[_message(days[key]) for key in sorted(days)],
            differences=[
                pb.DifferenceKind(
                    code=code, title=kind.title, message=kind.message, is_expected=kind.is_expected
                )
                for code, kind in KINDS.items()
            ],
        )

    async def _reconcile_by_consumer(self, keys: Iterable[DayKey]) -> dict[DayKey, ReconciledDay]:
        """The days of which usage-svc and billing-svc don't have the same of every consumer: read again, of
        each consumer for itself."""
        merchants: defaultdict[date, list[UUID]] = defaultdict(list)
        for day, merchant_id in keys:
            merchants[day].append(merchant_id)
        found = {}
        for day, merchant_ids in merchants.items():
            for start in range(0, len(merchant_ids), _MERCHANTS_TOGETHER):
                together = merchant_ids[start : start + _MERCHANTS_TOGETHER]
                for merchant_id, parts in (await self._parts(day, together)).items():
                    found[day, merchant_id] = reconcile((day, merchant_id), parts)
        return found

    async def _parts(self, day: date, merchant_ids: Sequence[UUID]) -> Mapping[UUID, list[Part]]:
        async with self.database.read() as reading:
            rated = await ReconciliationStore(reading.connection).list_rated_consumers(
                DayScope(day, day, merchant_ids, None)
            )
        recorded = {
            (*_key(total), UUID(total.consumer_id)): _recorded(total)
            async for total in self.usage.list_consumer_day_totals(day, merchant_ids)
        }
        parts: defaultdict[UUID, list[Part]] = defaultdict(list)
        for key in recorded.keys() | rated.keys():
            parts[key[1]].append(Part(recorded.get(key, Recorded()), rated.get(key, Rated())))
        return parts


def _days(request: pb.GetReconciliationRequest) -> tuple[date, date]:
    first_day, last_day = date.fromisoformat(request.first_day), date.fromisoformat(request.last_day)
    if not timedelta(0) <= last_day - first_day < timedelta(days=_MAX_DAYS):
        raise _invalid("lastDay", f"must be firstDay or one of the {_MAX_DAYS - 1} days after it")
    return first_day, last_day


def _check_size(rows: int) -> None:
    if rows > _MAX_ROWS:
        raise _invalid("lastDay", "leaves too many days of merchants: ask for fewer days, or one merchant")


def _role(caller: Caller, asked: Role.ValueType) -> Role.ValueType:
    """The one that is asked for; unset: the first that the caller holds. Raises PermissionDeniedError."""
    held = [role for role in (ADMIN, MERCHANT, CONSUMER) if role in caller.roles]
    if asked and asked not in held:
        raise PermissionDeniedError("role_not_held", "You can't act in that role here.")
    return asked or held[0]


def _key(total: usage_pb.DayTotal) -> DayKey:
    return date.fromisoformat(total.day), UUID(total.merchant_id)


def _recorded(total: usage_pb.DayTotal) -> Recorded:
    told = Amount(total.requests, total.request_bytes, total.response_bytes)
    test = Amount(total.test_events, total.test_request_bytes, total.test_response_bytes)
    return Recorded(
        forwarded=total.forwarded_events,
        # Events, of which some calls have several; their bytes are those of the calls.
        recorded=Amount(
            total.recorded_events,
            told.request_bytes + test.request_bytes,
            told.response_bytes + test.response_bytes,
        ),
        test=test,
        told=told,
        dead_letters=total.dead_letters,
        unrecorded=total.unrecorded_events,
        untold=total.untold_events,
    )


def _message(day: ReconciledDay) -> pb.ReconciledDay:
    return pb.ReconciledDay(
        day=day.day.isoformat(),
        merchant_id=str(day.merchant_id),
        forwarded=day.forwarded,
        recorded=day.recorded.count,
        rated=day.rated.count,
        invoiced=day.invoiced.count,
        differences=[
            pb.Difference(
                code=each.code,
                events=each.amount.count,
                request_bytes=each.amount.request_bytes,
                response_bytes=each.amount.response_bytes,
            )
            for each in day.differences
        ],
        is_reconciled=day.is_reconciled,
        request_bytes=pb.DayBytes(
            recorded=day.recorded.request_bytes,
            rated=day.rated.request_bytes,
            invoiced=day.invoiced.request_bytes,
        ),
        response_bytes=pb.DayBytes(
            recorded=day.recorded.response_bytes,
            rated=day.rated.response_bytes,
            invoiced=day.invoiced.response_bytes,
        ),
    )


def _invalid(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "range_invalid", f"{field} {description}.", [FieldViolation(field, description)]
    )
