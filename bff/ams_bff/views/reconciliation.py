"""Per day: forwarded = recorded = rated = invoiced, and each difference by its name."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.clock import utc_now
from starlette.responses import Response

from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, csv_file
from ams_bff.ui.periods import day_of
from ams_bff.views.usage_names import labels_of

_PATHS = {
    CONSUMER: "/dashboard/reconciliation",
    MERCHANT: "/merchant/reconciliation",
    ADMIN: "/admin/reconciliation",
}
_DAYS = 31
# As many as one request may ask for.
_MOST_DAYS = 62
_COLUMNS = (
    "day",
    "merchant_id",
    "forwarded",
    "recorded",
    "rated",
    "invoiced",
    "is_reconciled",
    "differences",
)
# Each with whether it is expected, and so needs nobody's attention.
DIFFERENCES: Mapping[str, tuple[str, bool]] = {
    "forwarded_not_recorded": ("Forwarded, not recorded", False),
    "recorded_not_forwarded": ("Recorded, not told by a gateway", False),
    "dead_letter": ("Could not be applied", False),
    "price_unknown": ("No price known", False),
    "not_rated_yet": ("Not rated yet", True),
    "test_calls": ("Test calls", True),
    "not_charged": ("Not charged", True),
    "not_invoiced_yet": ("Not invoiced yet", True),
}


async def show_reconciliation(visit: Visit) -> Response:
    """The days that the URL asks for, or the last month; only those that don't agree, when it says so."""
    first, last, answer = await _ask(visit)
    is_narrowed = visit.query.get("only") == "differences"
    days = [day for day in answer.days if not is_narrowed or not day.is_reconciled]
    return await visit.render(
        "reconciliation/show.html",
        # A consumer and an admin see those of several merchants.
        merchants=await labels_of(
            visit, "merchant", {visit.query.get("merchant", ""), *(day.merchant_id for day in answer.days)}
        ),
        days=sorted(days, key=lambda day: (day.day, day.merchant_id), reverse=True),
        first_day=first.isoformat(),
        last_day=last.isoformat(),
        open_days=sum(not day.is_reconciled for day in answer.days),
        totals=totals_of(answer.days),
        names=DIFFERENCES,
        path=_PATHS[visit.role],
        most_days=_MOST_DAYS,
    )


async def download_reconciliation(visit: Visit) -> Response:
    first, last, answer = await _ask(visit)
    name = f"reconciliation-{first.isoformat()}-{last.isoformat()}"
    return csv_file(name, _COLUMNS, map(_row, answer.days))


async def _ask(visit: Visit) -> tuple[date, date, pb.Reconciliation]:
    first, last = days_of(visit.query, utc_now().date())
    fields: dict[str, Any] = {
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "role": visit.role,
    }
    if visit.role == ADMIN:
        fields["merchant_id"] = visit.query.get("merchant", "")
    return first, last, await visit.api.billing.GetReconciliation(**fields)


def days_of(query: Mapping[str, str], today: date) -> tuple[date, date]:
    """The days that a URL asks for, both with; too many end where the first so many do."""
    last = day_of(query.get("to", ""), today)
    first = day_of(query.get("from", ""), last - timedelta(days=_DAYS - 1))
    if first > last:
        first, last = last, first
    return first, min(last, first + timedelta(days=_MOST_DAYS - 1))


def totals_of(days: Iterable[pb.ReconciledDay]) -> dict[str, int]:
    """The four figures over all days."""
    totals = {"forwarded": 0, "recorded": 0, "rated": 0, "invoiced": 0}
    for day in days:
        for name in totals:
            totals[name] += getattr(day, name)
    return totals


def _row(day: pb.ReconciledDay) -> Cells:
    named = "; ".join(f"{each.code}={each.events}" for each in day.differences)
    counts = (day.forwarded, day.recorded, day.rated, day.invoiced)
    return (day.day, day.merchant_id, *counts, "yes" if day.is_reconciled else "no", named)


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = _PATHS[role]
    return (
        page(path, show_reconciliation, role),
        page(f"{path}/table.csv", download_reconciliation, role),
    )


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
