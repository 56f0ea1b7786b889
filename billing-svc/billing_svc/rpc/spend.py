"""The RPCs about what consumers have spent."""

from collections.abc import AsyncGenerator, Sequence
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
from ams_common.live_answers import LiveAnswers
from ams_common.money import to_money
from ams_common.project_rights import ProjectRight, may
from ams_common.projects import find_membership
from ams_rating.currencies import MINOR_UNIT_DIGITS

from billing_svc.day_spend import (
    KEY,
    PROJECT,
    DayPart,
    KeyInProject,
    SpendQuestion,
    answer,
    months_of,
    share_out_consumers,
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
from billing_svc.periods import day_of, first_day_of, last_day_of, month_of, parse_day, period_of
from billing_svc.rating import totals_by_currency
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
        async with self.database.read() as store:
            parts = {
                project_id: await _parts_for(store, consumer_id, project_id, questions)
                for project_id in {question.project_id for question in questions}
            }
        return pb.BatchGetConsumerSpendResponse(
            spends=[
                days_spend_message(query, answer(question, parts[question.project_id]))
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
        _check(request)
        async with self.database.read() as store:
            amounts = await _amounts(store, request)
        return pb.BatchGetSpendResponse(
            amounts=[
                to_money(amount, scope.currency_code)
                for amount, scope in zip(amounts, request.scopes, strict=True)
            ]
        )


async def _parts_for(
    store: Store, consumer_id: UUID, project_id: UUID | None, questions: Sequence[SpendQuestion]
) -> Sequence[DayPart]:
    """What the questions about the project, or about none, are answered from: all that its payers have used
    for who may see the project's spend, else what the consumer pays for."""
    own = [question for question in questions if question.project_id == project_id]
    months, services = months_of(own), {question.service_id for question in own}
    payers = [consumer_id]
    if project_id is not None:
        membership = await find_membership(store.connection, project_id, consumer_id)
        if membership is not None and may(membership.member.role, ProjectRight.SEE_SPEND):
            payers = await store.list_payers_of_project(
                project_id=project_id, first_day=first_day_of(min(months)), last_day=last_day_of(max(months))
            )
    return share_out_days(
        await store.list_usage_of_keys(
            payers, months, service_id=services.pop() if len(services) == 1 else None
        )
    )


async def _amounts(store: Store, request: pb.BatchGetSpendRequest) -> list[Decimal]:
    """The spend of each scope in the month, or what a day of it adds."""
    if not request.day:
        spend = _Spend(store, request.period, last_day_of(request.period))
        return [await spend.of(scope) for scope in request.scopes]
    day = parse_day(request.day)
    through = _Spend(store, request.period, day)
    before = _Spend(store, request.period, day - timedelta(days=1))
    return [sum_exactly((await through.of(scope), -await before.of(scope))) for scope in request.scopes]


@dataclass(slots=True)
class _Spend:
    """The spend of scopes in a month until and with a day; whose spend was asked for before isn't read
    again."""

    store: Store
    period: str
    last_day: date
    _shares: dict[tuple[str, str, str], Sequence[Share[KeyInProject]]] = field(default_factory=dict)

    async def of(self, scope: pb.BatchGetSpendRequest.Scope) -> Decimal:
        """A scope with a key or project has what is shared out to it."""
        return sum_exactly(
            share.amount
            for share in await self._shares_for(scope)
            if share.currency == scope.currency_code
            and scope.service_id in ("", str(share.service_id))
            and scope.api_key_id in ("", str(share.group_id.api_key_id))
            and scope.project_id in ("", str(share.group_id.project_id))
        )

    async def _shares_for(self, scope: pb.BatchGetSpendRequest.Scope) -> Sequence[Share[KeyInProject]]:
        """All of whoever the scope is about: a consumer, a merchant's consumers or who pays for a project."""
        project_id = "" if scope.consumer_id or scope.merchant_id else scope.project_id
        known = (scope.consumer_id, scope.merchant_id, project_id)
        if known not in self._shares:
            span = {"first_day": first_day_of(self.period), "last_day": self.last_day}
            merchant_id = UUID(scope.merchant_id) if scope.merchant_id else None
            if scope.consumer_id:
                consumer_ids = [UUID(scope.consumer_id)]
            elif merchant_id:
                consumer_ids = await self.store.list_consumers_in_month(merchant_id=merchant_id, **span)
            else:
                consumer_ids = await self.store.list_payers_of_project(project_id=UUID(project_id), **span)
            usages = await self.store.list_usage_of_keys(
                consumer_ids, {self.period: False}, merchant_id, through=self.last_day
            )
            self._shares[known] = share_out_consumers(usages)
        return self._shares[known]


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
