"""The RPCs about what consumers have spent."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import Clock, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.interceptors import Context
from ams_common.live_answers import LiveAnswers
from ams_common.money import to_money
from ams_rating.currencies import MINOR_UNIT_DIGITS

from billing_svc.day_spend import (
    KEY,
    PROJECT,
    KeyInProject,
    answer,
    months_of,
    share_out_days,
    share_out_month,
    sum_by_group,
)
from billing_svc.invoices import sum_exactly
from billing_svc.messages import (
    day_spend_message,
    days_spend_message,
    moneys,
    rated_line_message,
    share_message,
)
from billing_svc.periods import day_of, first_day_of, last_day_of, period_of
from billing_svc.rating import totals_by_currency
from billing_svc.rows import KeyUsage
from billing_svc.shares import Share
from billing_svc.spend_queries import questions_of
from billing_svc.store import Store

_GROUPS = {pb.SPEND_BY_KEY: KEY, pb.SPEND_BY_PROJECT: PROJECT}
# A message holds less than 4 MB.
_MOST_IN_A_MESSAGE = 5000


@dataclass(kw_only=True, eq=False)
class SpendRpcs:
    database: Database[Store]
    clock: Clock = utc_now
    live_spend: LiveAnswers[pb.BatchGetConsumerSpendResponse] = field(default_factory=LiveAnswers)

    async def GetConsumerSpend(
        self, request: pb.GetConsumerSpendRequest, context: Context
    ) -> pb.GetConsumerSpendResponse:
        period = request.period or period_of(self.clock())
        async with self.database.read() as store:
            usages = await store.list_usage_of_keys([current_user_id()], {period: False})
        rated, shares = share_out_month(usages)
        group_by = _GROUPS.get(request.group_by, "")
        return pb.GetConsumerSpendResponse(
            period=period,
            lines=map(rated_line_message, rated.lines),
            totals=moneys(list(totals_by_currency(rated.lines).items())),
            shares=map(share_message, sum_by_group(shares, group_by)) if group_by else (),
        )

    async def BatchGetConsumerSpend(
        self, request: pb.BatchGetConsumerSpendRequest, context: Context
    ) -> pb.BatchGetConsumerSpendResponse:
        return await self._days_spend(current_user_id(), request)

    def WatchConsumerSpend(
        self, request: pb.BatchGetConsumerSpendRequest, context: Context
    ) -> AsyncGenerator[pb.BatchGetConsumerSpendResponse, None]:
        consumer_id = current_user_id()

        async def ask() -> pb.BatchGetConsumerSpendResponse:
            return await self._days_spend(consumer_id, request)

        return self.live_spend.watch(consumer_id, request.SerializeToString(deterministic=True), ask)

    async def _days_spend(
        self, consumer_id: UUID, request: pb.BatchGetConsumerSpendRequest
    ) -> pb.BatchGetConsumerSpendResponse:
        questions = questions_of(request.queries, day_of(self.clock()))
        services = {question.service_id for question in questions}
        async with self.database.read() as store:
            usages = await store.list_usage_of_keys(
                [consumer_id], months_of(questions), service_id=services.pop() if len(services) == 1 else None
            )
        parts = share_out_days(usages)
        return pb.BatchGetConsumerSpendResponse(
            spends=[
                days_spend_message(query, answer(question, parts))
                for query, question in zip(request.queries, questions, strict=True)
            ]
        )

    async def BatchGetDaySpend(
        self, request: pb.BatchGetDaySpendRequest, context: Context
    ) -> AsyncGenerator[pb.BatchGetDaySpendResponse, None]:
        merchant_id = UUID(request.merchant_id) if request.merchant_id else None
        service_id = UUID(request.service_id) if request.service_id else None
        for consumer_id in request.consumer_ids:
            async with self.database.read() as store:
                usages = await store.list_usage_of_keys(
                    [UUID(consumer_id)], {request.period: True}, merchant_id, service_id
                )
            spends = [day_spend_message(consumer_id, part) for part in share_out_days(usages)]
            for start in range(0, len(spends), _MOST_IN_A_MESSAGE):
                yield pb.BatchGetDaySpendResponse(spends=spends[start : start + _MOST_IN_A_MESSAGE])

    async def BatchGetSpend(
        self, request: pb.BatchGetSpendRequest, context: Context
    ) -> pb.BatchGetSpendResponse:
        _check(request.scopes)
        async with self.database.read() as store:
            spend = _Spend(store, request.period)
            amounts = [await spend.of(scope) for scope in request.scopes]
        return pb.BatchGetSpendResponse(
            amounts=[
                to_money(amount, scope.currency_code)
                for amount, scope in zip(amounts, request.scopes, strict=True)
            ]
        )


@dataclass(slots=True)
class _Spend:
    """The spend of scopes in a month; whose spend was asked for before isn't read again."""

    store: Store
    period: str
    _shares: dict[tuple[str, str], Sequence[Share[KeyInProject]]] = field(default_factory=dict)

    async def of(self, scope: pb.BatchGetSpendRequest.Scope) -> Decimal:
        """A scope with a key or project has what is shared out to it."""
        return sum_exactly(
            share.amount
            for share in await self._read(scope.consumer_id, scope.merchant_id)
            if share.currency == scope.currency_code
            and scope.service_id in ("", str(share.service_id))
            and scope.api_key_id in ("", str(share.group_id.api_key_id))
            and scope.project_id in ("", str(share.group_id.project_id))
        )

    async def _read(self, consumer_id: str, merchant_id: str) -> Sequence[Share[KeyInProject]]:
        known = (consumer_id, merchant_id)
        if known not in self._shares:
            month = {self.period: False}
            if consumer_id:
                usages = await self.store.list_usage_of_keys([UUID(consumer_id)], month)
            else:
                consumer_ids = await self.store.list_consumers_in_month(
                    merchant_id=UUID(merchant_id),
                    first_day=first_day_of(self.period),
                    last_day=last_day_of(self.period),
                )
                usages = await self.store.list_usage_of_keys(consumer_ids, month, UUID(merchant_id))
            self._shares[known] = _share_out(usages)
        return self._shares[known]


def _share_out(usages: Sequence[KeyUsage]) -> list[Share[KeyInProject]]:
    # Tiers count each consumer for itself.
    by_consumer: defaultdict[UUID, list[KeyUsage]] = defaultdict(list)
    for each in usages:
        by_consumer[each.usage.consumer_id].append(each)
    return [share for own in by_consumer.values() for share in share_out_month(own)[1]]


def _check(scopes: Sequence[pb.BatchGetSpendRequest.Scope]) -> None:
    violations = []
    for index, scope in enumerate(scopes):
        if bool(scope.consumer_id) == bool(scope.merchant_id):
            violations.append(FieldViolation(f"scopes[{index}]", "needs a consumer or a merchant, not both"))
        if scope.currency_code not in MINOR_UNIT_DIGITS:
            violations.append(
                FieldViolation(f"scopes[{index}].currencyCode", "must be a currency of ISO 4217")
            )
    if violations:
        raise InvalidArgumentError("invalid_argument", "Some scopes are not valid.", violations)
