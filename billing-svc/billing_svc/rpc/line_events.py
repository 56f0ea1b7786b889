"""The RPC that lists the events behind a line of an invoice."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common import formats
from ams_common.database import Database
from ams_common.errors import (
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)
from ams_common.interceptors import Context
from ams_common.pseudonyms import Pseudonyms
from ams_rating.events import read_leaf
from ams_rating.rate import Counts

from billing_svc.invoices import Invoice, Line
from billing_svc.messages import Audience
from billing_svc.proofs.line_events import LineEvents, days_of_line, version_of
from billing_svc.proofs.store import ProofStore
from billing_svc.rpc.invoices import find_own_invoice
from billing_svc.store import Store
from billing_svc.usage_client import EVENTS_PER_PAGE, UsageClient

_DEFAULT_PAGE_SIZE = 50
# Pages of usage-svc that are looked through for one of a line: the line may count only a few of them.
_MAX_PAGES = 4


@dataclass(kw_only=True, eq=False)
class LineEventRpcs:
    database: Database[Store]
    pseudonyms: Pseudonyms
    usage: UsageClient

    async def ListInvoiceLineEvents(
        self, request: pb.ListInvoiceLineEventsRequest, context: Context
    ) -> pb.ListInvoiceLineEventsResponse:
        if request.page_token and not formats.UUID.fullmatch(request.page_token):
            violation = FieldViolation("pageToken", "is not a token that this list gave out")
            raise InvalidArgumentError("page_token_invalid", "This page token is not valid.", [violation])
        async with self.database.read() as reading:
            invoice, audience = await find_own_invoice(reading, UUID(request.invoice_id))
            line = _line(invoice, request.position)
            key = line.rated.key
            store = ProofStore(reading.connection)
            versions = await store.list_versions_behind(invoice_id=invoice.invoice_id)
            version = version_of(line, versions)
            days = days_of_line(invoice, version, key.month, versions) if version else None
            # One that takes back what was billed counts nothing.
            if version is None or days is None or line.rated.counts == Counts():
                return pb.ListInvoiceLineEventsResponse()
            spans = await store.list_spans_behind(
                invoice_id=invoice.invoice_id, service_id=key.service_id, first_day=days[0], last_day=days[1]
            )
        line_events = LineEvents(invoice.merchant_id, spans, version.price.charge_rule, self.pseudonyms)
        return await self._page(invoice, key.service_id, days, line_events, audience, request)

    async def _page(
        self,
        invoice: Invoice,
        service_id: UUID,
        days: tuple[date, date],
        line_events: LineEvents,
        audience: Audience,
        request: pb.ListInvoiceLineEventsRequest,
    ) -> pb.ListInvoiceLineEventsResponse:
        """usage-svc's tokens are ids of events, and so are this list's: it goes on wherever a page ends."""
        wanted = request.page_size or _DEFAULT_PAGE_SIZE
        found: list[pb.LineEvent] = []
        after, page_size = request.page_token, wanted + 1
        for _ in range(_MAX_PAGES):
            page = await self.usage.list_proven_events(
                invoice.merchant_id, invoice.consumer_id, service_id, *days, after, page_size
            )
            for proven in page.events:
                event = line_events.message_of(read_leaf(proven.leaf), audience)
                if event is not None and len(found) == wanted:
                    return pb.ListInvoiceLineEventsResponse(events=found, next_page_token=found[-1].event_id)
                if event is not None:
                    found.append(event)
            after, page_size = page.next_page_token, EVENTS_PER_PAGE
            if not after:
                break
        return pb.ListInvoiceLineEventsResponse(events=found, next_page_token=after)


def _line(invoice: Invoice, position: int) -> Line:
    """Raises FailedPreconditionError, and NotFoundError for a line that there isn't."""
    if invoice.kind != "invoice" or invoice.status == "draft":
        raise FailedPreconditionError(
            "invoice_without_events", "Which events a line counts is kept of issued invoices only."
        )
    lines = [line for line in invoice.lines if isinstance(line, Line)]
    if position > len(lines):
        raise NotFoundError("line_not_found", "The invoice has no such line.")
    return lines[position - 1]
