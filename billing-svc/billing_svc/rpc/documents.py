"""The RPC that gives an invoice as a file."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import from_timestamp
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.interceptors import Context
from ams_common.pseudonyms import Pseudonyms

from billing_svc.documents.content import document_of
from billing_svc.documents.csv_file import csv_of
from billing_svc.documents.html_page import html_of
from billing_svc.documents.pdf_file import pdf_of
from billing_svc.rpc.invoices import find_whole_invoice
from billing_svc.store import Store

_TYPES = {
    pb.DOCUMENT_PDF: ("pdf", "application/pdf"),
    pb.DOCUMENT_HTML: ("html", "text/html; charset=utf-8"),
    pb.DOCUMENT_CSV: ("csv", "text/csv; charset=utf-8"),
}


@dataclass(kw_only=True, eq=False)
class DocumentRpcs:
    database: Database[Store]
    pseudonyms: Pseudonyms

    async def GetInvoiceDocument(
        self, request: pb.GetInvoiceDocumentRequest, context: Context
    ) -> pb.InvoiceDocument:
        if request.format not in _TYPES:
            violation = FieldViolation("format", "must be PDF, HTML or CSV")
            raise InvalidArgumentError("invalid_argument", "format must be PDF, HTML or CSV.", [violation])
        async with self.database.read() as reading:
            invoice = await find_whole_invoice(reading, UUID(request.invoice_id), self.pseudonyms)
        ending, media_type = _TYPES[request.format]
        # A PDF takes long enough to keep others waiting.
        content = await asyncio.to_thread(_content, invoice, request.format)
        return pb.InvoiceDocument(
            file_name=f"{invoice.number or 'draft'}.{ending}", media_type=media_type, content=content
        )


def _content(invoice: pb.Invoice, wanted: pb.DocumentFormat.ValueType) -> bytes:
    if wanted == pb.DOCUMENT_CSV:
        return csv_of(invoice)
    document = document_of(invoice)
    if wanted == pb.DOCUMENT_HTML:
        return html_of(document)
    at = invoice.issued_at if invoice.HasField("issued_at") else invoice.updated_at
    return pdf_of(document, from_timestamp(at))
