"""The calls behind a line of an invoice, for its merchant, its consumer and the admins."""

import asyncio
from collections.abc import Mapping

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import events_pb2 as events
from ams_common.errors import FailedPreconditionError, NotFoundError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.views.calls import OUTCOMES
from ams_bff.views.invoices import PATHS, load_invoice
from ams_bff.views.usage import PATHS as USAGE_PATHS
from ams_bff.views.usage_names import labels_of

_PAGE_SIZE = 50
_COLUMNS = (
    "event_id",
    "occurred_at",
    "key",
    "api_key_id",
    "outcome",
    "status_code",
    "request_bytes",
    "response_bytes",
    "is_continuation",
    "is_billed_before",
)


async def show_line(visit: Visit) -> Response:
    """In the order of time. What can't be told any more is said instead."""
    invoice, listed = await asyncio.gather(load_invoice(visit), _ask_or_expired(visit))
    position = _position(visit)
    if position > len(invoice.lines):
        raise _no_line()
    return await visit.render(
        "invoices/line.html",
        invoice=invoice,
        position=position,
        line=invoice.lines[position - 1],
        line_events=listed.events if listed else [],
        next_token=listed.next_page_token if listed else "",
        is_expired=listed is None,
        labels=await _labels(visit, listed) if listed else {},
        events=events,
        outcomes=OUTCOMES,
        path=PATHS[visit.role],
        usage_path=USAGE_PATHS[visit.role],
    )


async def _ask_or_expired(visit: Visit) -> pb.ListInvoiceLineEventsResponse | None:
    """None for a line whose events are kept no longer."""
    try:
        return await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    except FailedPreconditionError as error:
        if error.code != "proof_expired":
            raise
        return None


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListInvoiceLineEventsResponse:
    return await visit.api.billing.ListInvoiceLineEvents(
        invoice_id=visit.parameter("invoice_id"),
        position=_position(visit),
        page_size=size,
        page_token=page_token,
    )


def _position(visit: Visit) -> int:
    """Raises NotFoundError for what no line can have."""
    text = visit.parameter("position")
    if not (text.isascii() and text.isdigit() and len(text) <= 6) or not int(text):
        raise _no_line()
    return int(text)


def _no_line() -> NotFoundError:
    return NotFoundError("line_not_found", "The invoice has no such line.")


async def _labels(visit: Visit, listed: pb.ListInvoiceLineEventsResponse) -> Mapping[str, str]:
    """What a consumer calls its keys, by id; to nobody else's eyes they have names."""
    if visit.role != CONSUMER:
        return {}
    return await labels_of(visit, "key", (event.api_key_id for event in listed.events))


async def _rows(visit: Visit, listed: pb.ListInvoiceLineEventsResponse) -> list[Cells]:
    own = ("event_id", "occurred_at", "key", "api_key_id")
    return [
        [
            *cells(event, *own),
            OUTCOMES.get(event.outcome, ""),
            *cells(event, "status_code", "request_bytes", "response_bytes"),
            "yes" if event.is_continuation else "no",
            "yes" if event.is_billed_before else "no",
        ]
        for event in listed.events
    ]


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = f"{PATHS[role]}/{{invoice_id}}/lines/{{position}}"
    return (
        page(path, show_line, role),
        list_download(path, "invoice-line", _COLUMNS, _ask, _rows, role),
    )


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
