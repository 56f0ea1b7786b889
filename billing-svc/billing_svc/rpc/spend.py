"""The RPCs about what consumers have spent."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import Clock, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.interceptors import Context
from ams_common.money import to_money
from ams_rating.currencies import MINOR_UNIT_DIGITS

from billing_svc.invoices import sum_exactly
from billing_svc.messages import moneys, rated_line_message, share_message
from billing_svc.periods import first_day_of, last_day_of, month_of, parse_day, period_of
from billing_svc.rating import Usage, rate_usage, totals_by_currency
from billing_svc.rows import CountedUsage
from billing_svc.rpc.project_spend import project_shares
from billing_svc.shares import Share, share_out
from billing_svc.store import Store

_GROUPS = {pb.SPEND_BY_KEY: "key", pb.SPEND_BY_PROJECT: "project"}


@dataclass(kw_only=True, eq=False)
class SpendRpcs:
    database: Database[Store]
    clock: Clock = utc_now

    async def GetConsumerSpend(
        self, request: pb.GetConsumerSpendRequest, context: Context
    ) -> pb.GetConsumerSpendResponse:
        period = request.period or period_of(self.clock())
        group_by = _GROUPS.get(request.group_by, "")
        async with self.database.read() as store:
            usages = await store.list_usage_of_consumer(
                consumer_id=current_user_id(),
                first_day=first_day_of(period),
                last_day=last_day_of(period),
                group_by=group_by,
            )
        lines = rate_usage(each.usage for each in usages).lines
        shares = share_out(lines, [(each.group_id, each.usage) for each in usages]) if group_by else []
        return pb.GetConsumerSpendResponse(
            period=period,
            lines=map(rated_line_message, lines),
            totals=moneys(list(totals_by_currency(lines).items())),
            shares=map(share_message, shares),
        )

    async def BatchGetSpend(
        self, request: pb.BatchGetSpendRequest, context: Context
    ) -> pb.BatchGetSpendResponse:
        _check(request)
        async with self.database.read() as store:
            amounts = await _amounts(store, request)
        return pb.BatchGetSpendResponse(
            amounts=[
                to_money(amount, scope.currency_code)
                for amount, scope in zip(amounts, request.scopes, strict=True)
            ]
        )


async def _amounts(store: Store, request: pb.BatchGetSpendRequest) -> list[Decimal]:
    """The spend of each scope in the month, or what a day of it adds."""
    first_day = first_day_of(request.period)
    if not request.day:
        spend = _Spend(store, first_day, last_day_of(request.period))
        return [await spend.of(scope) for scope in request.scopes]
    day = parse_day(request.day)
    through = _Spend(store, first_day, day)
    before = _Spend(store, first_day, day - timedelta(days=1))
    return [sum_exactly((await through.of(scope), -await before.of(scope))) for scope in request.scopes]


@dataclass(slots=True)
class _Spend:
    """The spend of scopes in days of a month, from its first day on; whose spend was asked for before isn't
    read again."""

    store: Store
    first_day: date
    last_day: date
    _shares: dict[tuple[str, str, str], list[Share]] = field(default_factory=dict)

    async def of(self, scope: pb.BatchGetSpendRequest.Scope) -> Decimal:
        """A scope with a key or project has what is shared out to it; with both, what the key has, for a key
        has one project."""
        if not scope.consumer_id and not scope.merchant_id:
            return await self._of_project(scope)
        group_by = "key" if scope.api_key_id else "project" if scope.project_id else ""
        group = scope.api_key_id or scope.project_id
        shares = await self._read(scope.consumer_id, scope.merchant_id, group_by)
        return sum_exactly(
            share.amount
            for share in shares
            if share.currency == scope.currency_code
            and (not scope.service_id or str(share.service_id) == scope.service_id)
            and (not group or str(share.group_id) == group)
        )

    async def _of_project(self, scope: pb.BatchGetSpendRequest.Scope) -> Decimal:
        shares = await project_shares(
            self.store,
            UUID(scope.project_id),
            self.first_day,
            self.last_day,
            by_key=bool(scope.api_key_id),
        )
        return sum_exactly(
            share.amount
            for share in shares
            if share.currency == scope.currency_code
            and (not scope.service_id or str(share.service_id) == scope.service_id)
            and (not scope.api_key_id or str(share.group_id) == scope.api_key_id)
        )

    async def _read(self, consumer_id: str, merchant_id: str, group_by: str) -> list[Share]:
        known = (consumer_id, merchant_id, group_by)
        if known not in self._shares:
            span = {"first_day": self.first_day, "last_day": self.last_day, "group_by": group_by}
            if consumer_id:
                usages = await self.store.list_usage_of_consumer(consumer_id=UUID(consumer_id), **span)
            else:
                usages = await self.store.list_usage_of_merchant(merchant_id=UUID(merchant_id), **span)
            self._shares[known] = _share_out(usages)
        return self._shares[known]


def _share_out(usages: Sequence[CountedUsage]) -> list[Share]:
    # Tiers count each consumer for itself.
    by_consumer: defaultdict[UUID, list[tuple[UUID | None, Usage]]] = defaultdict(list)
    for each in usages:
        by_consumer[each.usage.consumer_id].append((each.group_id, each.usage))
    return [
        share
        for own in by_consumer.values()
        for share in share_out(rate_usage(usage for _, usage in own).lines, own)
    ]


def _check(request: pb.BatchGetSpendRequest) -> None:
    violations = []
    if request.day and month_of(parse_day(request.day)) != request.period:
        violations.append(FieldViolation("day", "must be a day of the period"))
    for index, scope in enumerate(request.scopes):
        named = [scope.consumer_id, scope.merchant_id]
        if all(named) or (not any(named) and not scope.project_id):
            sentence = "needs a consumer or a merchant, not both, or a project"
            violations.append(FieldViolation(f"scopes[{index}]", sentence))
        if scope.currency_code not in MINOR_UNIT_DIGITS:
            violations.append(
                FieldViolation(f"scopes[{index}].currencyCode", "must be a currency of ISO 4217")
            )
    if violations:
        raise InvalidArgumentError("invalid_argument", "Some fields are not valid.", violations)
