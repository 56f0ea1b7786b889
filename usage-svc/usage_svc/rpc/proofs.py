"""The RPCs of UsageService about what was forwarded and recorded, and the proof of it."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import UsageEvent
from ams_common import formats
from ams_common.clock import to_timestamp
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError, UnavailableError
from ams_common.ids import uuid_or_none
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.pseudonyms import Pseudonyms
from google.protobuf.message import DecodeError

from usage_svc.file_store import FileStore
from usage_svc.proofs.proven_events import FIRST, EventScope, ProvenEvents
from usage_svc.proofs.store import DayFigures, ProofStore, WaitingEvents
from usage_svc.reading import events_of
from usage_svc.store import Store

log = logging.getLogger(__name__)

_DEFAULT_EVENTS = 500
_MAX_ROOT_DAYS = 400
_MAX_TOTALS = 20_000
_MAX_LETTERS = 5_000

# Whose an event is that doesn't say so.
_NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class DayScope:
    """Which totals are asked for. None: of all merchants, of all consumers."""

    first_day: date
    last_day: date
    merchant_ids: Sequence[UUID] | None
    consumer_id: UUID | None

    def holds(self, day: date, merchant_id: UUID, consumer_id: UUID) -> bool:
        return (
            self.first_day <= day <= self.last_day
            and (self.merchant_ids is None or merchant_id in self.merchant_ids)
            and self.consumer_id in (None, consumer_id)
        )


@dataclass(kw_only=True, eq=False)
class ProofRpcs(rpc.UsageServiceServicer):
    """The part of UsageService that is about proofs."""

    database: Database[Store]
    pseudonyms: Pseudonyms
    archive: FileStore

    async def ListDayTotals(
        self, request: pb.ListDayTotalsRequest, context: Context
    ) -> pb.ListDayTotalsResponse:
        first_day, last_day = _days(request.first_day, request.last_day)
        merchant_id, consumer_id = uuid_or_none(request.merchant_id), uuid_or_none(request.consumer_id)
        scope = DayScope(first_day, last_day, [merchant_id] if merchant_id else None, consumer_id)
        async with self.database.read() as reading:
            store = ProofStore(reading.connection)
            totals = await store.list_day_totals(
                **asdict(scope), **(await _waiting_events(store, scope)).rows, limit=_MAX_TOTALS + 1
            )
        if len(totals) > _MAX_TOTALS:
            raise _invalid("lastDay", "leaves too many totals: ask for fewer days, or one merchant")
        return pb.ListDayTotalsResponse(totals=[_total(each, request.consumer_id) for each in totals])

    async def ListConsumerDayTotals(
        self, request: pb.ListConsumerDayTotalsRequest, context: Context
    ) -> pb.ListConsumerDayTotalsResponse:
        day = date.fromisoformat(request.day)
        scope = DayScope(day, day, list(map(UUID, request.merchant_ids)), None)
        async with self.database.read() as reading:
            store = ProofStore(reading.connection)
            page = await store.list_consumer_day_totals(
                page_request(request), **asdict(scope), **(await _waiting_events(store, scope)).rows
            )
        return pb.ListConsumerDayTotalsResponse(
            totals=[_total(each, str(each.consumer_id)) for each in page.rows],
            next_page_token=page.next_token,
        )

    async def ListDayRoots(
        self, request: pb.ListDayRootsRequest, context: Context
    ) -> pb.ListDayRootsResponse:
        first_day, last_day = _days(request.first_day, request.last_day)
        if last_day - first_day >= timedelta(days=_MAX_ROOT_DAYS):
            raise _invalid("lastDay", f"must be less than {_MAX_ROOT_DAYS} days after firstDay")
        async with self.database.read() as store:
            roots = await ProofStore(store.connection).list_roots(
                merchant_id=UUID(request.merchant_id), first_day=first_day, last_day=last_day
            )
        return pb.ListDayRootsResponse(
            roots=[
                pb.DayRoot(
                    merchant_id=str(root.merchant_id),
                    day=root.day.isoformat(),
                    edition=root.edition,
                    events=root.events,
                    root=root.root,
                    published_at=to_timestamp(root.published_at),
                )
                for root in roots
            ]
        )

    async def ListProvenEvents(
        self, request: pb.ListProvenEventsRequest, context: Context
    ) -> pb.ListProvenEventsResponse:
        first_day, last_day = _days(request.first_day, request.last_day)
        if request.page_token and not formats.UUID.fullmatch(request.page_token):
            raise InvalidArgumentError(
                "page_token_invalid",
                "This page token is not valid.",
                [FieldViolation("pageToken", "is not a token that this list gave out")],
            )
        scope = EventScope(
            merchant_id=UUID(request.merchant_id),
            consumer_id=UUID(request.consumer_id),
            service_id=uuid_or_none(request.service_id),
            first_day=first_day,
            last_day=last_day,
        )
        async with self.database.read() as store:
            listed = ProvenEvents(
                store=ProofStore(store.connection),
                pseudonyms=self.pseudonyms,
                archive=self.archive,
                scope=scope,
            )
            after = UUID(request.page_token) if request.page_token else FIRST
            try:
                events, last = await listed.page(after, request.page_size or _DEFAULT_EVENTS)
            except OSError as error:
                log.error("archived events can't be read", extra={"error": repr(error)})
                raise UnavailableError(
                    "archive_unavailable", "The archive of events can't be read at the moment."
                ) from error
        return pb.ListProvenEventsResponse(
            events=[
                pb.ProvenEvent(
                    leaf=event.leaf,
                    source=event.source,
                    offset=event.offset,
                    edition=event.edition,
                    index=event.index,
                    audit_path=event.path,
                )
                for event in events
            ],
            next_page_token=str(last or ""),
        )


def _days(first: str, last: str) -> tuple[date, date]:
    first_day, last_day = date.fromisoformat(first), date.fromisoformat(last)
    if last_day < first_day:
        raise _invalid("lastDay", "must not be before firstDay")
    return first_day, last_day


def _invalid(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "range_invalid", f"{field} {description}.", [FieldViolation(field, description)]
    )


def _total(figures: DayFigures, consumer_id: str) -> pb.DayTotal:
    return pb.DayTotal(
        day=figures.day.isoformat(),
        merchant_id=str(figures.merchant_id),
        consumer_id=consumer_id,
        forwarded_events=figures.forwarded_events,
        recorded_events=figures.recorded_events,
        requests=figures.requests,
        request_bytes=figures.request_bytes,
        response_bytes=figures.response_bytes,
        test_events=figures.test_events,
        dead_letters=figures.dead_letters,
        unrecorded_events=figures.unrecorded_events,
        untold_events=figures.untold_events,
        test_request_bytes=figures.test_request_bytes,
        test_response_bytes=figures.test_response_bytes,
        digest=figures.digest,
    )


async def _waiting_events(store: ProofStore, scope: DayScope) -> WaitingEvents:
    """Of those in the scope, as far as they say whose they are."""
    waiting = WaitingEvents()
    for payload in await store.list_waiting_payloads(limit=_MAX_LETTERS):
        for event in _events_of(payload):
            if not formats.UUID.fullmatch(event.merchant_id):
                continue
            try:
                day = datetime.fromtimestamp(event.timestamp.seconds, UTC).date()
            except (OverflowError, ValueError, OSError):
                continue
            is_named = formats.UUID.fullmatch(event.consumer_id)
            consumer_id = UUID(event.consumer_id) if is_named else _NOBODY
            if scope.holds(day, UUID(event.merchant_id), consumer_id):
                waiting[day, UUID(event.merchant_id), consumer_id] += 1
    return waiting


def _events_of(payload: bytes) -> list[UsageEvent]:
    try:
        return events_of(payload)
    except DecodeError:
        return []
