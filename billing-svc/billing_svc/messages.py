"""Invoices, lines, runs and rates as messages: who sees what of them."""

import enum
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.money import to_money
from ams_common.prices import METER_VALUES
from ams_common.pseudonyms import Pseudonyms
from ams_rating.price_json import format_amount
from ams_rating.rate import Step
from google.type.money_pb2 import Money

from billing_svc.commission import CommissionRate, format_rate
from billing_svc.day_spend import DayPart, DaysSpend
from billing_svc.invoices import Credit, Invoice, Line
from billing_svc.rating import RatedLine
from billing_svc.revenue import RevenueTotal, ServiceRevenue
from billing_svc.runs import InvoiceRun, RunProblem
from billing_svc.shares import Share

STATUSES = {
    "draft": pb.INVOICE_DRAFT,
    "issued": pb.INVOICE_ISSUED,
    "paid": pb.INVOICE_PAID,
    "overdue": pb.INVOICE_OVERDUE,
    "void": pb.INVOICE_VOID,
}
KINDS = {"invoice": pb.INVOICE, "credit_note": pb.CREDIT_NOTE}
_RUN_STATUSES = {
    "waiting": pb.RUN_WAITING,
    "running": pb.RUN_RUNNING,
    "done": pb.RUN_DONE,
    "incomplete": pb.RUN_INCOMPLETE,
}


class Audience(enum.Enum):
    """Whose eyes an answer is for: a merchant never sees who a consumer is (PRD-4.2), a consumer never what
    the merchant pays."""

    ADMIN = enum.auto()
    MERCHANT = enum.auto()
    CONSUMER = enum.auto()


def invoice_message(invoice: Invoice, audience: Audience, pseudonyms: Pseudonyms) -> pb.Invoice:
    """The invoice as `audience` may see it."""
    currency = invoice.currency
    message = pb.Invoice(
        invoice_id=str(invoice.invoice_id),
        merchant_id=str(invoice.merchant_id),
        merchant_name=invoice.merchant_name,
        first_day=invoice.first_day.isoformat(),
        last_day=invoice.last_day.isoformat(),
        status=STATUSES[invoice.status],
        kind=KINDS[invoice.kind],
        number=invoice.number,
        lines=[stored_line_message(line, currency) for line in invoice.lines],
        subtotal=to_money(invoice.subtotal, currency),
        updated_at=to_timestamp(invoice.updated_at),
        issued_at=to_timestamp(invoice.issued_at),
        due_on=_day(invoice.due_on),
        paid_at=to_timestamp(invoice.paid_at),
        sent_at=to_timestamp(invoice.sent_at),
        corrects_invoice_id=str(invoice.corrects_invoice_id or ""),
        reason=invoice.reason,
        credited=to_money(invoice.credited, currency),
        is_nothing_due=invoice.is_nothing_due,
        corrects_number=invoice.corrects_number,
        credit_notes=[
            pb.InvoiceCredit(
                credit_note_id=str(note.invoice_id),
                number=note.number,
                issued_at=to_timestamp(note.issued_at),
                amount=to_money(note.amount, currency),
                reason=note.reason,
            )
            for note in invoice.credit_notes
        ],
    )
    # A merchant that saw the id could ask elsewhere who the consumer is.
    if audience is not Audience.MERCHANT:
        message.consumer_id = str(invoice.consumer_id)
    if audience is not Audience.CONSUMER:
        message.consumer_pseudonym = pseudonyms.of_consumer(invoice.merchant_id, invoice.consumer_id)
        message.commission_rate = format_rate(invoice.commission_rate)
        message.commission.CopyFrom(to_money(invoice.commission, currency))
        message.total.CopyFrom(to_money(invoice.total, currency))
    return message


def stored_line_message(line: Line | Credit, currency: str) -> pb.InvoiceLine:
    """A line of an invoice or of a credit note."""
    if isinstance(line, Credit):
        return pb.InvoiceLine(
            kind=pb.CREDIT, amount=to_money(line.amount, currency), description=line.description
        )
    message = rated_line_message(line.rated)
    message.kind = pb.ADJUSTMENT if line.is_adjustment else pb.USAGE
    message.billed_before.CopyFrom(to_money(line.billed_before, currency))
    message.amount.CopyFrom(to_money(line.amount, currency))
    return message


def rated_line_message(line: RatedLine) -> pb.InvoiceLine:
    """What usage comes to by itself, whatever was billed of it."""
    message = pb.InvoiceLine(
        service_id=str(line.key.service_id),
        service_name=line.service_name,
        price_version_id=str(line.key.price_version_id),
        kind=pb.USAGE,
        month=line.key.month,
        first_day=line.first_day.isoformat(),
        last_day=line.last_day.isoformat(),
        component=line.key.component,
        quantity=format_amount(line.quantity),
        steps=[_step(step, line.currency) for step in line.steps],
        rated_amount=to_money(line.rated_amount, line.currency),
        billed_before=to_money(Decimal(0), line.currency),
        amount=to_money(line.rated_amount, line.currency),
        description=line.description,
    )
    if line.meter is not None:
        message.meter = METER_VALUES[line.meter]
    return message


def _step(step: Step, currency: str) -> pb.RatedStep:
    return pb.RatedStep(
        to="" if step.end is None else format_amount(step.end),
        quantity=format_amount(step.quantity),
        unit_amount=to_money(step.unit_amount, currency),
        flat_amount=to_money(step.flat_amount, currency),
        amount=format_amount(step.amount),
        **{"from": format_amount(step.start)},  # a word of Python
    )


def days_spend_message(query: pb.SpendQuery, spend: DaysSpend) -> pb.DaysSpend:
    return pb.DaysSpend(
        first_day=query.first_day,
        last_day=query.last_day,
        totals=moneys(list(spend.totals.items())),
        groups=[
            pb.GroupSpend(group=str(each.group_id or ""), amount=to_money(each.amount, each.currency))
            for each in spend.groups
        ],
    )


def day_spend_message(consumer_id: str, part: DayPart) -> pb.DaySpend:
    """Of a part of a key, in a month whose days are told apart."""
    return pb.DaySpend(
        consumer_id=consumer_id,
        service_id=str(part.service_id),
        api_key_id=str(part.key.api_key_id),
        project_id=str(part.key.project_id or ""),
        day=_day(part.day),
        amount=to_money(part.amount, part.currency),
    )


def share_message(share: Share[UUID | None]) -> pb.SpendShare:
    return pb.SpendShare(
        service_id=str(share.service_id),
        group=str(share.group_id or ""),
        amount=to_money(share.amount, share.currency),
        requests=share.requests,
    )


def revenue_message(
    period: str, services: Iterable[ServiceRevenue], totals: Iterable[RevenueTotal]
) -> pb.GetMerchantRevenueResponse:
    return pb.GetMerchantRevenueResponse(
        period=period,
        services=[
            pb.ServiceRevenue(
                service_id=str(service.service_id),
                service_name=service.service_name,
                quantity=service.quantity,
                gross=to_money(service.gross, service.currency),
            )
            for service in services
        ],
        totals=map(total_message, totals),
    )


def total_message(total: RevenueTotal) -> pb.RevenueTotal:
    return pb.RevenueTotal(
        gross=to_money(total.gross, total.currency),
        commission=to_money(total.commission, total.currency),
        net=to_money(total.net, total.currency),
    )


def run_message(run: InvoiceRun, audience: Audience, pseudonyms: Pseudonyms) -> pb.InvoiceRun:
    return pb.InvoiceRun(
        invoice_run_id=str(run.invoice_run_id),
        last_day=run.last_day.isoformat(),
        status=_RUN_STATUSES[run.status],
        is_monthly=run.is_monthly,
        merchants=run.merchants,
        merchants_done=run.merchants_done,
        invoices=run.invoices,
        problems=[_problem(problem, audience, pseudonyms) for problem in run.problems],
        created_at=to_timestamp(run.created_at),
        finished_at=to_timestamp(run.finished_at),
    )


def _problem(problem: RunProblem, audience: Audience, pseudonyms: Pseudonyms) -> pb.RunProblem:
    consumer = str(problem.consumer_id or "")
    if audience is Audience.MERCHANT and problem.consumer_id is not None:
        consumer = pseudonyms.of_consumer(problem.merchant_id, problem.consumer_id)
    return pb.RunProblem(
        merchant_id=str(problem.merchant_id),
        consumer_id=consumer,
        service_id=str(problem.service_id or ""),
        code=problem.code,
        message=problem.message,
    )


def rate_message(rate: CommissionRate) -> pb.CommissionRate:
    return pb.CommissionRate(
        rate=format_rate(rate.rate), starts_in=rate.starts_in, created_at=to_timestamp(rate.created_at)
    )


def moneys(totals: Sequence[tuple[str, Decimal]]) -> list[Money]:
    return [to_money(amount, currency) for currency, amount in totals]


def _day(day: date | None) -> str:
    return day.isoformat() if day is not None else ""
