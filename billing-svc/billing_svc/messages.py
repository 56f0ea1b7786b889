"""Invoices, lines and rates as messages: who sees what of them."""

import enum
from collections.abc import Sequence

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.money import to_money

from billing_svc.commission import CommissionRate, format_rate
from billing_svc.invoices import Invoice, InvoiceContent, Line
from ams_common.pseudonyms import Pseudonyms
from billing_svc.revenue import revenue_by_service, revenue_totals

_STATUSES = {
    "draft": pb.INVOICE_DRAFT,
    "issued": pb.INVOICE_ISSUED,
    "paid": pb.INVOICE_PAID,
    "overdue": pb.INVOICE_OVERDUE,
}


class Audience(enum.Enum):
    """Whose eyes an answer is for: a merchant never sees who a consumer is (PRD-4.2)."""

    ADMIN = enum.auto()
    MERCHANT = enum.auto()
    CONSUMER = enum.auto()


def invoice_message(invoice: Invoice, audience: Audience, pseudonyms: Pseudonyms) -> pb.Invoice:
    """The invoice as `audience` may see it."""
    content, key = invoice.content, invoice.content.key
    message = pb.Invoice(
        invoice_id=str(invoice.invoice_id),
        merchant_id=str(key.merchant_id),
        period=invoice.period,
        status=_STATUSES[invoice.status],
        lines=[line_message(line) for line in content.lines],
        subtotal=to_money(content.subtotal, key.currency),
        commission_rate=format_rate(content.commission_rate),
        commission=to_money(content.commission, key.currency),
        total=to_money(content.total, key.currency),
        updated_at=to_timestamp(invoice.updated_at),
    )
    # A merchant that saw the id could ask elsewhere who the consumer is.
    if audience is not Audience.MERCHANT:
        message.consumer_id = str(key.consumer_id)
    if audience is not Audience.CONSUMER:
        message.consumer_pseudonym = pseudonyms.of_consumer(key.merchant_id, key.consumer_id)
    return message


def line_message(line: Line) -> pb.InvoiceLine:
    return pb.InvoiceLine(
        service_id=str(line.service_id),
        service_name=line.service_name,
        price_version_id=str(line.price_version_id),
        quantity=line.quantity,
        unit_price=to_money(line.unit_price, line.currency),
        amount=to_money(line.amount, line.currency),
    )


def revenue_message(period: str, contents: Sequence[InvoiceContent]) -> pb.GetMerchantRevenueResponse:
    """What the invoices of a merchant's month come to, if they have these `contents`."""
    return pb.GetMerchantRevenueResponse(
        period=period,
        services=[
            pb.ServiceRevenue(
                service_id=str(service.service_id),
                service_name=service.service_name,
                quantity=service.quantity,
                gross=to_money(service.gross, service.currency),
            )
            for service in revenue_by_service(contents)
        ],
        totals=[
            pb.RevenueTotal(
                gross=to_money(total.gross, total.currency),
                commission=to_money(total.commission, total.currency),
                net=to_money(total.net, total.currency),
            )
            for total in revenue_totals(contents)
        ],
    )


def rate_message(rate: CommissionRate) -> pb.CommissionRate:
    return pb.CommissionRate(
        rate=format_rate(rate.rate), starts_in=rate.starts_in, created_at=to_timestamp(rate.created_at)
    )
