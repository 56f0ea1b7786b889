"""What a report tells that others own: names of services and keys, and what usage costs. Asked for in
batches, as the report is made."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import UUID

import grpc
from ams.billing.v1 import billing_service_pb2 as billing
from ams.billing.v1 import billing_service_pb2_grpc as billing_rpc
from ams.catalog.v1 import catalog_service_pb2 as catalog
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2 as keys
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT
from ams.usage.v1 import report_service_pb2 as pb
from ams_common.client import ServiceToken, invoke, listen
from ams_common.errors import DeadlineExceededError, UnavailableError
from ams_common.money import to_decimal
from ams_rating.currencies import MINOR_UNIT_DIGITS

from usage_svc.reporting.reports import Report
from usage_svc.reporting.tables import Amount, UsageLine

T = TypeVar("T")

_DEADLINE_S = 10.0
_MOST_NAMES = 500
_MOST_CONSUMERS = 100
# What a report keeps of a month at most; a month of more is asked for again, part by part.
_MOST_CELLS = 500_000
# A service that is away may be back in a moment, and a report is made in the background.
_PAUSE_S = 2.0
_MOST_TRIES = 30


class Cell(NamedTuple):
    """What spend is told of: a key's usage of a service on a UTC day."""

    consumer_id: UUID
    service_id: UUID
    api_key_id: UUID
    project_id: UUID | None
    day: date


@dataclass(frozen=True, slots=True, eq=False)
class FactSources:
    """The services that are asked. Methods raise AppError."""

    catalog_channel: grpc.aio.Channel
    keys_channel: grpc.aio.Channel
    billing_channel: grpc.aio.Channel
    token: ServiceToken

    async def services(self, ids: Sequence[UUID]) -> Sequence[catalog.ServiceName]:
        request = catalog.BatchGetServiceNamesRequest(service_ids=map(str, ids))
        method = catalog_rpc.CatalogServiceStub(self.catalog_channel).BatchGetServiceNames
        return (await invoke(method, request, token=await self.token.get(), timeout_s=_DEADLINE_S)).services

    async def key_names(self, ids: Sequence[UUID]) -> Sequence[keys.KeyName]:
        request = keys.BatchGetKeyNamesRequest(key_ids=map(str, ids))
        method = keys_rpc.KeysServiceStub(self.keys_channel).BatchGetKeyNames
        return (await invoke(method, request, token=await self.token.get(), timeout_s=_DEADLINE_S)).keys

    async def spends(self, request: billing.BatchGetDaySpendRequest) -> Sequence[billing.DaySpend]:
        method = billing_rpc.BillingServiceStub(self.billing_channel).BatchGetDaySpend
        parts = listen(method, request, token=await self.token.get(), timeout_s=_DEADLINE_S)
        async with aclosing(parts):
            return [spend async for part in parts for spend in part.spends]


@dataclass(slots=True)
class ReportFacts:
    """What is known for one report so far. What nobody could tell is called by its id, and has no spend."""

    sources: FactSources
    report: Report
    # Says that the report is still being made, while somebody is waited for.
    beat: Callable[[], Awaitable[None]]
    _services: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    _keys: dict[UUID, str] = field(default_factory=dict)
    _month: str = ""
    _asked: set[UUID] = field(default_factory=set)
    _spends: dict[Cell, Amount] = field(default_factory=dict)

    async def learn(self, lines: Sequence[UsageLine]) -> None:
        """Asks for what rows need that isn't known. Raises UnavailableError or DeadlineExceededError when
        somebody is away for long."""
        for ids in _parts({line.service_id for line in lines} - self._services.keys(), _MOST_NAMES):
            names = {
                UUID(each.service_id): each for each in await self._ask(partial(self.sources.services, ids))
            }
            for service_id in ids:
                name = names.get(service_id)
                self._services[service_id] = (name.name, name.merchant_name) if name else ("", "")
        if self.report.role == CONSUMER:
            for ids in _parts({line.api_key_id for line in lines} - self._keys.keys(), _MOST_NAMES):
                named = await self._ask(partial(self.sources.key_names, ids))
                self._keys |= dict.fromkeys(ids, "") | {UUID(each.key_id): each.name for each in named}
        if self.report.detail != pb.CALLS:
            await self._learn_spend(lines)

    async def _learn_spend(self, lines: Sequence[UsageLine]) -> None:
        consumers: dict[str, set[UUID]] = {}
        for line in lines:
            consumers.setdefault(f"{line.bucket_start:%Y-%m}", set()).add(line.consumer_id)
        for month, wanted in sorted(consumers.items()):
            if month != self._month or len(self._spends) > _MOST_CELLS:
                self._month, self._asked, self._spends = month, set(), {}
            for ids in _parts(wanted - self._asked, _MOST_CONSUMERS):
                request = billing.BatchGetDaySpendRequest(
                    period=month,
                    consumer_ids=map(str, ids),
                    merchant_id=str(self.report.owner_id) if self.report.role == MERCHANT else "",
                    service_id=str(self.report.service_id or ""),
                )
                for spend in await self._ask(partial(self.sources.spends, request)):
                    self._spends[_cell_of(spend)] = Amount(
                        to_decimal(spend.amount), spend.amount.currency_code
                    )
                self._asked |= set(ids)

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        for _ in range(_MOST_TRIES):
            try:
                return await ask()
            except (UnavailableError, DeadlineExceededError):
                await self.beat()
                await asyncio.sleep(_PAUSE_S)
        return await ask()

    def service_name(self, service_id: UUID) -> str:
        return self._services.get(service_id, ("", ""))[0] or str(service_id)

    def merchant_name(self, service_id: UUID) -> str:
        """Whose the service is."""
        return self._services.get(service_id, ("", ""))[1]

    def key_name(self, api_key_id: UUID) -> str:
        return self._keys.get(api_key_id, "")

    def spend_of(self, line: UsageLine) -> Amount | None:
        """The row's part of what its key's day came to; None for what isn't rated yet, or never charged."""
        whole = self._spends.get(
            Cell(
                line.consumer_id, line.service_id, line.api_key_id, line.project_id, line.bucket_start.date()
            )
        )
        if whole is None:
            return None
        if line.day_billable:
            part = part_of(whole, line.billable_before, line.billable_requests, line.day_billable)
        else:
            part = part_of(whole, line.requests_before, line.requests, line.day_requests)
        return part


def part_of(whole: Amount, before: int, own: int, total: int) -> Amount:
    """What falls to `own` of `total`, after those `before`: parts one after the other add up to the whole."""
    digits = MINOR_UNIT_DIGITS.get(whole.currency, 2) + 4
    units = int(whole.amount.scaleb(digits))
    part = units * (before + own) // total - units * before // total
    return Amount(Decimal(part).scaleb(-digits), whole.currency)


def _cell_of(spend: billing.DaySpend) -> Cell:
    project_id = UUID(spend.project_id) if spend.project_id else None
    return Cell(
        UUID(spend.consumer_id),
        UUID(spend.service_id),
        UUID(spend.api_key_id),
        project_id,
        date.fromisoformat(spend.day),
    )


def _parts(ids: Iterable[UUID], most: int) -> Iterator[list[UUID]]:
    ordered = sorted(ids)
    return (ordered[start : start + most] for start in range(0, len(ordered), most))
