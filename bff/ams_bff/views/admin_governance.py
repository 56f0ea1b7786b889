"""Who did what, and what AMS keeps of a sale (FR4-ADMIN-03)."""

import asyncio
import re
from datetime import UTC, datetime
from decimal import Decimal

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clock import utc_now
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.audit_words import actions
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.ui.formats import month
from ams_bff.ui.forms import Form
from ams_bff.views.admin_records import actor_names

PATH = "/admin/governance"
_PAGE_SIZE = 25
_COLUMNS = ("occurred_at", "actor", "action", "resource", "resource_id", "details", "request_id")
_MONTHS_AHEAD = 12
_PERCENT = re.compile(r"\d{1,2}(?:[.,]\d{1,4})?")
_FILTERS = ("actor", "action", "resource_id")


async def show_governance(visit: Visit, form: Form | None = None) -> Response:
    """The audit log, filtered by the URL, and the commission."""
    listed, rates, names = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token),
        visit.api.billing.ListCommissionRates(),
        actor_names(visit),
    )
    now = utc_now()
    return await visit.render(
        "admin/governance.html",
        form=form or Form(),
        wanted=_wanted(visit),
        records=listed.audit_records,
        next_token=listed.next_page_token,
        names=names,
        actions=actions(),
        rates=[(percent(rate.rate), rate) for rate in rates.commission_rates],
        this_month=f"{now:%Y-%m}",
        months=[(text, month(text)) for text in _months_after(now)],
    )


async def create_rate(visit: Visit) -> Response:
    """Typed as a percentage, kept as a fraction."""
    form = visit.form
    try:
        form.check()
        made = await visit.api.billing.CreateCommissionRate(
            rate=_fraction(form), starts_in=form["starts_in"], idempotency_key=form["idempotency_key"]
        )
    except AppError as error:
        return await show_governance(visit, form.refused(error))
    message = f"The commission will be {percent(made.rate)} from {month(made.starts_in)} on."
    return await visit.redirect(f"{PATH}?view=commission", message)


def percent(fraction: str) -> str:
    """ "0.125" as "12.5%"."""
    return f"{(Decimal(fraction) * 100).normalize():f}%"


def _fraction(form: Form) -> str:
    if not _PERCENT.fullmatch(form["rate"]):
        form.refuse("rate", "must be a percentage from 0 to below 100, such as 12.5")
        return ""
    return f"{(Decimal(form['rate'].replace(',', '.')) / 100).normalize():f}"


def _wanted(visit: Visit) -> dict[str, str]:
    return {name: visit.query.get(name, "").strip()[:64] for name in _FILTERS}


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListAuditRecordsResponse:
    return await visit.api.identity.ListAuditRecords(page_size=size, page_token=page_token, **_wanted(visit))


async def _rows(visit: Visit, listed: pb.ListAuditRecordsResponse) -> list[Cells]:
    return [
        [
            *cells(record, "occurred_at", "actor", "action", "resource", "resource_id"),
            "; ".join(f"{name}={text}" for name, text in sorted(record.details.items())),
            record.request_id,
        ]
        for record in listed.audit_records
    ]


def _months_after(now: datetime) -> list[str]:
    here = now.astimezone(UTC)
    counts = range(here.month, here.month + _MONTHS_AHEAD)
    return [f"{here.year + count // 12}-{count % 12 + 1:02}" for count in counts]


VIEWS = (
    page(PATH, show_governance, ADMIN),
    list_download(PATH, "audit-log", _COLUMNS, _ask, _rows, ADMIN),
    action(PATH, create_rate, ADMIN),
)
