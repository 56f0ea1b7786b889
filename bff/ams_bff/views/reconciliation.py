"""Per day: forwarded = recorded = rated = invoiced, and each difference by its name."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.clock import utc_now
from ams_common.errors import InvalidArgumentError
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
# So many where the URL says nothing. An admin's are of every merchant.
_DAYS = {CONSUMER: 31, MERCHANT: 31, ADMIN: 7}
# As many as one request may ask for.
_MOST_DAYS = 62
# Rows of a page; the file has them all.
_MOST_ROWS = 500
_COLUMNS = (
    "day",
    "merchant_id",
    "forwarded",
    "recorded",
    "rated",
    "invoiced",
    "request_bytes_recorded",
    "request_bytes_rated",
    "request_bytes_invoiced",
    "response_bytes_recorded",
    "response_bytes_rated",
    "response_bytes_invoiced",
    "is_reconciled",
    "differences",
)


async def show_reconciliation(visit: Visit) -> Response:
    """The days that the URL asks for, or the newest; only those that don't agree, when it says so."""
    first, last = _asked_days(visit)
    shown_first, answer = await _ask_newest(visit, first, last)
    all_days = answer.days if answer else ()
    kinds = answer.differences if answer else ()
    is_narrowed = visit.query.get("only") == "differences"
    days = sorted(
        (day for day in all_days if not is_narrowed or not day.is_reconciled),
        key=lambda day: (day.day, day.merchant_id),
        reverse=True,
    )
    shown = days[:_MOST_ROWS]
    named = {each.code for day in shown for each in day.differences}
    return await visit.render(
        "reconciliation/show.html",
        # A consumer and an admin see those of several merchants.
        merchants=await labels_of(
            visit, "merchant", {visit.query.get("merchant", ""), *(day.merchant_id for day in shown)}
        ),
        days=shown,
        hidden_days=len(days) - len(shown),
        first_day=shown_first.isoformat(),
        last_day=last.isoformat(),
        is_cut=answer is not None and shown_first != first,
        is_refused=answer is None,
        open_days=sum(not day.is_reconciled for day in all_days),
        totals=totals_of(all_days),
        kinds={kind.code: kind for kind in kinds},
        legend=[(kind.title, kind.message) for kind in kinds if kind.code in named],
        path=_PATHS[visit.role],
        most_days=_MOST_DAYS,
    )


async def download_reconciliation(visit: Visit) -> Response:
    first, last = _asked_days(visit)
    answer = await _ask(visit, first, last)
    name = f"reconciliation-{first.isoformat()}-{last.isoformat()}"
    return csv_file(name, _COLUMNS, map(_row, answer.days))


def _asked_days(visit: Visit) -> tuple[date, date]:
    return days_of(visit.query, utc_now().date(), _DAYS[visit.role])


async def _ask_newest(visit: Visit, first: date, last: date) -> tuple[date, pb.Reconciliation | None]:
    """From which day on, and what: of more merchants than can be told of together only the last day, and
    nothing where it alone has as many."""
    for begin in dict.fromkeys((first, last)):
        try:
            return begin, await _ask(visit, begin, last)
        except InvalidArgumentError as error:
            if error.code != "range_invalid":
                raise
    return last, None


async def _ask(visit: Visit, first: date, last: date) -> pb.Reconciliation:
    fields: dict[str, Any] = {
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "role": visit.role,
    }
    if visit.role == ADMIN:
        fields["merchant_id"] = visit.query.get("merchant", "")
    return await visit.api.billing.GetReconciliation(**fields)


def days_of(query: Mapping[str, str], today: date, days: int) -> tuple[date, date]:
    """The days that a URL asks for, both with, or so many to its last. Too many end where the first so many
    do."""
    last = day_of(query.get("to", ""), today)
    first = day_of(query.get("from", ""), last - timedelta(days=days - 1))
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
    return (
        day.day,
        day.merchant_id,
        day.forwarded,
        day.recorded,
        day.rated,
        day.invoiced,
        day.request_bytes.recorded,
        day.request_bytes.rated,
        day.request_bytes.invoiced,
        day.response_bytes.recorded,
        day.response_bytes.rated,
        day.response_bytes.invoiced,
        "yes" if day.is_reconciled else "no",
        "; ".join(map(_named, day.differences)),
    )


def _named(each: pb.Difference) -> str:
    """ "test_calls=3", or of bytes "bytes_not_rated=10/100": of requests, and of answers."""
    if each.request_bytes or each.response_bytes:
        return f"{each.code}={each.request_bytes}/{each.response_bytes}"
    return f"{each.code}={each.events}"


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = _PATHS[role]
    return (
        page(path, show_reconciliation, role),
        page(f"{path}/table.csv", download_reconciliation, role),
    )


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
