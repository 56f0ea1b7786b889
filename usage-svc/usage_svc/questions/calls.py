"""The log of single calls: what is asked of it, and what each role is told of a call. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1.events_pb2 import ChargeClass, Outcome
from ams_common.clock import to_timestamp
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.orders import Orders
from ams_common.paging import PageRequest, decode_page_token, encode_page_token, page_request
from ams_common.pseudonyms import Pseudonyms

from usage_svc.events import Series
from usage_svc.questions.ranges import day_in_zone
from usage_svc.questions.scopes import Asker, Scope, scope_of, status_classes_of

_NEWEST_FIRST = Orders.parse([("occurred_at desc", "timestamptz occurred_at, uuid event_id")]).declared[0]
_LEAST_ID: Final = UUID(int=0)
# Around everything that is kept.
_EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


class Call(NamedTuple):
    """A raw event, without what its series says."""

    event_id: UUID
    occurred_at: datetime
    series_id: int
    request_bytes: int
    response_bytes: int
    response_time_ms: int
    status_code: int
    outcome: Outcome.ValueType
    charge_class: ChargeClass.ValueType
    is_continuation: bool
    is_test: bool
    request_id: str | None
    request_messages: int
    response_messages: int


@dataclass(frozen=True, slots=True)
class CallQuestion:
    """What is asked: calls since `start` and before `before`, by their times and ids."""

    scope: Scope
    start: datetime
    before: tuple[datetime, UUID]
    page: PageRequest
    status_classes: list[int]
    min_response_time_ms: int
    request_id: str

    def parameters(self) -> dict[str, Any]:
        """What each query of calls takes; one row more than is shown tells whether there are more."""
        return {
            "range_start": self.start,
            "before_at": self.before[0],
            "before_id": self.before[1],
            "status_classes": self.status_classes,
            "min_response_time_ms": self.min_response_time_ms,
            "limit": self.page.row_count + 1,
        }

    def names(self) -> dict[str, Any]:
        """The id that the client got, and the event's if it can be one."""
        try:
            event_id = UUID(self.request_id)
        except ValueError:
            event_id = None
        return {"request_id": self.request_id, "event_id": event_id}


def call_question_of(asker: Asker, request: pb.ListCallsRequest) -> CallQuestion:
    """The question that a request asks. Raises InvalidArgumentError."""
    if not request.day and not request.request_id:
        violation = FieldViolation("day", "is required unless requestId is given")
        raise InvalidArgumentError("day_required", "Say which day, or which request_id.", [violation])
    start, end = day_in_zone(request.day, request.time_zone) if request.day else _EVER
    page = page_request(request)
    before = (end, _LEAST_ID)
    if page.token:
        at, event_id = decode_page_token(page.token, _NEWEST_FIRST)
        # A token of another day leads nowhere, and never out of this one.
        before = min(before, (at, event_id))
    return CallQuestion(
        scope=scope_of(asker, request),
        start=start,
        before=before,
        page=page,
        status_classes=status_classes_of(request.status_class),
        min_response_time_ms=request.min_response_time_ms,
        request_id=request.request_id,
    )


def answer_of(
    question: CallQuestion, found: Sequence[Call], series: Sequence[Series], pseudonyms: Pseudonyms
) -> pb.ListCallsResponse:
    """The page of `found`, of which the last is only there to show that the log goes on."""
    of = {each.series_id: each for each in series}
    shown = found[: question.page.row_count]
    token = ""
    if len(found) > len(shown):
        token = encode_page_token(_NEWEST_FIRST, (shown[-1].occurred_at, shown[-1].event_id))
    asker = question.scope.asker
    calls = [_message(asker, call, of[call.series_id], pseudonyms) for call in shown]
    return pb.ListCallsResponse(calls=calls, next_page_token=token)


def _message(asker: Asker, call: Call, series: Series, pseudonyms: Pseudonyms) -> pb.Call:
    message = pb.Call(
        event_id=str(call.event_id),
        occurred_at=to_timestamp(call.occurred_at),
        service_id=str(series.service_id),
        merchant_id=str(series.merchant_id),
        status_code=call.status_code,
        outcome=call.outcome,
        charge_class=call.charge_class,
        is_test=call.is_test,
        request_bytes=call.request_bytes,
        response_bytes=call.response_bytes,
        response_time_ms=call.response_time_ms,
        request_id=call.request_id or str(call.event_id),
        is_continuation=call.is_continuation,
        request_messages=call.request_messages,
        response_messages=call.response_messages,
    )
    if asker.role == MERCHANT:
        message.consumer = pseudonyms.of_consumer(asker.user_id, series.consumer_id)
        message.key = pseudonyms.of_key(asker.user_id, series.api_key_id)
    else:
        message.consumer = str(series.consumer_id) if asker.role == ADMIN else ""
        message.api_key_id, message.key = str(series.api_key_id), series.key_prefix
        message.project_id = str(series.project_id or "")
    return message
