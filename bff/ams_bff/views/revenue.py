"""What a merchant has earned: by service while a month goes on, and as statements of what was invoiced."""

import asyncio
from datetime import date
from typing import Any

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT, Role
from ams_common.clock import utc_now
from ams_common.errors import NotFoundError
from ams_common.money import to_decimal
from ams_rating.currencies import round_to_minor_unit
from starlette.responses import Response

from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells, csv_file
from ams_bff.ui.periods import month_of, months_before
from ams_bff.usage.figures import change_of_sums

_REVENUE, _STATEMENTS = "/merchant/revenue", "/merchant/statements"
_ADMIN_STATEMENTS = "/admin/merchants/{merchant_id}/statements"
_MONTHS = 24
_REVENUE_COLUMNS = ("month", "service", "quantity", "gross", "currency", "service_id")
_OWN = ("number", "kind", "status", "first_day", "last_day", "issued_at")
_STATEMENT_COLUMNS = (*_OWN, "consumer", "currency", "gross", "commission", "net", "invoice_id")


async def show_revenue(visit: Visit) -> Response:
    """Of the month that the URL asks for, beside the month before."""
    months = months_before(utc_now(), _MONTHS + 1)
    period = month_of(visit.query.get("month", ""), months[0])
    before = months_before(date.fromisoformat(f"{period}-01"), 2)[1]
    revenue, last = await asyncio.gather(
        visit.api.billing.GetMerchantRevenue(period=period),
        visit.or_none_if_down(visit.api.billing.GetMerchantRevenue(period=before)),
    )
    change = None
    if last is not None:
        change = change_of_sums([each.gross for each in revenue.totals], [each.gross for each in last.totals])
    return await visit.render(
        "revenue/show.html", revenue=revenue, change=change, before=before, months=months[:-1]
    )


async def download_revenue(visit: Visit) -> Response:
    period = month_of(visit.query.get("month", ""), f"{utc_now():%Y-%m}")
    revenue = await visit.api.billing.GetMerchantRevenue(period=period)
    rows = [
        (
            period,
            each.service_name,
            each.quantity,
            f"{to_decimal(each.gross):f}",
            each.gross.currency_code,
            each.service_id,
        )
        for each in revenue.services
    ]
    return csv_file(f"revenue-{period}", _REVENUE_COLUMNS, rows)


async def show_statement(visit: Visit) -> Response:
    statement = await _ask_statement(visit)
    return await visit.render("revenue/statement.html", statement=statement, **_place(visit))


async def download_statement(visit: Visit) -> Response:
    statement = await _ask_statement(visit)
    return csv_file(
        f"statement-{statement.period}", _STATEMENT_COLUMNS, map(_statement_row, statement.invoices)
    )


async def _ask_statement(visit: Visit) -> pb.Statement:
    # The last month that is over, of which all invoices are issued.
    last = months_before(utc_now(), 2)[1]
    period = month_of(visit.query.get("month", ""), last)
    return await visit.api.billing.GetStatement(period=period, merchant_id=_merchant_id(visit))


def _merchant_id(visit: Visit) -> str:
    """Whose statement it is: always named, for an admin may be a merchant too."""
    if visit.role == ADMIN:
        return visit.parameter("merchant_id")
    if visit.session.person is None:
        raise NotFoundError("statement_not_found", "There is no such statement.")
    return visit.session.person.user_id


def _place(visit: Visit) -> dict[str, Any]:
    """Where the page stands, and where its invoices do."""
    months = months_before(utc_now(), _MONTHS)
    if visit.role == ADMIN:
        path = f"/admin/merchants/{visit.parameter('merchant_id')}/statements"
        return {"path": path, "invoices_path": "/admin/invoices", "months": months}
    return {"path": _STATEMENTS, "invoices_path": "/merchant/invoices", "months": months}


def _statement_row(invoice: pb.Invoice) -> Cells:
    # A credit note takes away.
    sign = -1 if invoice.kind == pb.CREDIT_NOTE else 1
    amounts = (invoice.subtotal, invoice.commission, invoice.total)
    currency = invoice.subtotal.currency_code
    return [
        *cells(invoice, *_OWN),
        invoice.consumer_pseudonym,
        currency,
        *(round_to_minor_unit(sign * to_decimal(amount), currency) for amount in amounts),
        invoice.invoice_id,
    ]


def _statements_of(path: str, role: Role.ValueType) -> tuple[View, ...]:
    return (page(path, show_statement, role), page(f"{path}/table.csv", download_statement, role))


VIEWS = (
    page(_REVENUE, show_revenue, MERCHANT),
    page(f"{_REVENUE}/table.csv", download_revenue, MERCHANT),
    *_statements_of(_STATEMENTS, MERCHANT),
    *_statements_of(_ADMIN_STATEMENTS, ADMIN),
)
