"""The RPC of an invoice's proof file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
from ams_common.interceptors import Context
from ams_common.pseudonyms import Pseudonyms

from billing_svc.invoices import Invoice
from billing_svc.periods import first_day_of, last_day_of
from billing_svc.proofs.parts import (
    PartToken,
    bounds_of,
    day_root,
    days_of,
    event_rows,
    groups_of,
    head_rows,
    parse_token,
    root_rows,
    rows_part,
)
from billing_svc.proofs.store import ProofStore, UsageBehind
from billing_svc.rpc.invoices import find_own_invoice
from billing_svc.store import Store
from billing_svc.usage_client import UsageClient


@dataclass(kw_only=True, eq=False)
class ProofRpcs:
    database: Database[Store]
    pseudonyms: Pseudonyms
    usage: UsageClient

    async def GetInvoiceProof(self, request: pb.GetInvoiceProofRequest, context: Context) -> pb.InvoiceProof:
        token = _token(request.page_token)
        async with self.database.read() as reading:
            invoice, _ = await find_own_invoice(reading, UUID(request.invoice_id))
            if invoice.kind != "invoice" or invoice.status == "draft":
                raise FailedPreconditionError(
                    "invoice_without_proof", "Only an issued invoice has a proof file."
                )
            store = ProofStore(reading.connection)
            usage = await store.list_usage_behind(invoice_id=invoice.invoice_id)
            versions = await store.list_versions_behind(invoice_id=invoice.invoice_id)
            last_editions = await store.find_last_editions(invoice.invoice_id)
        following: PartToken | None
        if token.kind == "rows":
            rows = list(head_rows(invoice, versions, usage, self.pseudonyms))
            content, following = rows_part(rows, token.at)
        elif token.kind == "roots":
            content, following = await self._roots(invoice, last_editions), _events_token(invoice, 0)
        else:
            content, following = await self._events(invoice, usage, token)
        return pb.InvoiceProof(content=content, next_page_token=following.encode() if following else "")

    async def _roots(self, invoice: Invoice, last_editions: Mapping[date, int] | None) -> bytes:
        roots = [
            day_root(root)
            for month in sorted({group.month for group in groups_of(invoice)})
            for root in await self.usage.list_day_roots(
                invoice.merchant_id, first_day_of(month), last_day_of(month)
            )
        ]
        return root_rows(invoice, roots, last_editions)

    async def _events(
        self, invoice: Invoice, usage: Sequence[UsageBehind], token: PartToken
    ) -> tuple[bytes, PartToken | None]:
        groups = groups_of(invoice)
        if token.at >= len(groups):
            raise _token_invalid()
        group = groups[token.at]
        page = await self.usage.list_proven_events(
            invoice.merchant_id,
            invoice.consumer_id,
            group.service_id,
            *days_of(invoice, group),
            token.usage_token,
        )
        content = event_rows(page.events, bounds_of(invoice, usage, self.pseudonyms))
        if page.next_page_token:
            return content, PartToken("events", token.at, page.next_page_token)
        return content, _events_token(invoice, token.at + 1)


def _events_token(invoice: Invoice, at: int) -> PartToken | None:
    return PartToken("events", at) if at < len(groups_of(invoice)) else None


def _token(text: str) -> PartToken:
    try:
        return parse_token(text)
    except ValueError:
        raise _token_invalid() from None


def _token_invalid() -> InvalidArgumentError:
    violation = FieldViolation("pageToken", "is not a token of this file")
    return InvalidArgumentError("page_token_invalid", "This page token is not valid.", [violation])
