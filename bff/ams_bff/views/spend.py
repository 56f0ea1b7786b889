"""What a consumer has run up in a month, by service, key or project, before any invoice."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1.project_spend_service_pb2 import ProjectSpend
from ams.keys.v1.keys_service_pb2 import Key
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.clock import utc_now
from ams_common.money import to_decimal, to_money
from google.type.money_pb2 import Money
from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import csv_file
from ams_bff.ui.periods import month_of, months_before
from ams_bff.views.consumer_lists import all_keys
from ams_bff.views.naming import name_of, service_names
from ams_bff.views.project_names import project_choices, project_names

PATH = "/dashboard/spend"
_MONTHS = 24
_GROUPS = {"key": pb.SPEND_BY_KEY, "project": pb.SPEND_BY_PROJECT}
# Both have a period and totals.
Spend: TypeAlias = pb.GetConsumerSpendResponse | ProjectSpend
_COLUMNS = ("month", "group", "service", "requests", "amount", "currency", "service_id", "group_id")


@dataclass(frozen=True, slots=True)
class SpendRow:
    """What one group has of one service; `group` is "" where spend is told by service alone."""

    group_id: str
    group: str
    service_id: str
    service: str
    requests: int | None
    amount: Money


async def show_spend(visit: Visit) -> Response:
    """The month and grouping that the URL asks for."""
    (spend, rows), projects = await asyncio.gather(_load(visit), project_choices(visit))
    return await visit.render(
        "spend/show.html",
        projects=projects,
        project_id=visit.query.get("project", ""),
        spend=spend,
        rows=list(zip(rows, shares_of_total(rows, spend.totals), strict=True)),
        months=months_before(utc_now(), _MONTHS),
        group=_group(visit),
    )


async def download_spend(visit: Visit) -> Response:
    spend, rows = await _load(visit)
    cells = [
        (
            spend.period,
            row.group,
            row.service,
            "" if row.requests is None else row.requests,
            f"{to_decimal(row.amount):f}",
            row.amount.currency_code,
            row.service_id,
            row.group_id,
        )
        for row in rows
    ]
    return csv_file(f"spend-{spend.period}", _COLUMNS, cells)


async def _load(visit: Visit) -> tuple[Spend, list[SpendRow]]:
    group, period = _group(visit), month_of(visit.query.get("month", ""), f"{utc_now():%Y-%m}")
    if project_id := visit.query.get("project", ""):
        return await _load_of_project(visit, project_id, period, by_key=group == "key")
    asked = visit.api.billing.GetConsumerSpend(
        period=period, group_by=_GROUPS.get(group, pb.SPEND_GROUP_BY_UNSPECIFIED)
    )
    if group == "project":
        spend, names = await asyncio.gather(asked, visit.or_none_if_down(project_names(visit)))
        return spend, share_rows(spend, {"": "No project", **(names or {})})
    if group != "key":
        spend = await asked
        return spend, service_rows(spend.lines)
    spend, keys = await asyncio.gather(asked, all_keys(visit))
    return spend, share_rows(spend, {key.key_id: f"{key.name} · {key.key_prefix}…" for key in keys})


async def _load_of_project(
    visit: Visit, project_id: str, period: str, *, by_key: bool
) -> tuple[ProjectSpend, list[SpendRow]]:
    """What a project has run up, whoever pays: by service, or by key. Raises NotFoundError."""
    answer = await visit.api.project_spend.GetProjectSpend(
        project_id=project_id, period=period, by_key=by_key
    )
    [spend] = answer.months
    names, keys = await asyncio.gather(
        service_names(visit, (share.service_id for share in spend.shares)),
        all_keys(visit) if by_key else _no_keys(),
    )
    groups = {key.key_id: f"{key.name} · {key.key_prefix}…" for key in keys}
    return spend, _ordered(
        SpendRow(
            share.group,
            groups.get(share.group) or (f"…{share.group[-6:]}" if share.group else ""),
            share.service_id,
            name_of(names, share.service_id),
            share.requests,
            share.amount,
        )
        for share in spend.shares
    )


async def _no_keys() -> list[Key]:
    return []


def service_rows(lines: Iterable[pb.InvoiceLine]) -> list[SpendRow]:
    """One for each service and currency, the greatest first."""
    names: dict[str, str] = {}
    sums: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for line in lines:
        names[line.service_id] = line.service_name
        sums[line.service_id, line.amount.currency_code] += to_decimal(line.amount)
    rows = [
        SpendRow("", "", service_id, names[service_id], None, to_money(amount, currency))
        for (service_id, currency), amount in sums.items()
    ]
    return _ordered(rows)


def share_rows(spend: pb.GetConsumerSpendResponse, groups: Mapping[str, str]) -> list[SpendRow]:
    """One for each group and service, the greatest first. A group that has no name is called by its id."""
    names = {line.service_id: line.service_name for line in spend.lines}
    return _ordered(
        SpendRow(
            share.group,
            groups.get(share.group) or f"…{share.group[-6:]}",
            share.service_id,
            names.get(share.service_id, ""),
            share.requests,
            share.amount,
        )
        for share in spend.shares
    )


def _ordered(rows: Iterable[SpendRow]) -> list[SpendRow]:
    return sorted(
        rows, key=lambda row: (row.amount.currency_code, -to_decimal(row.amount), row.group, row.service)
    )


def _group(visit: Visit) -> str:
    """What spend is told by; none is by service."""
    wanted = visit.query.get("group", "")
    return wanted if wanted in _GROUPS else ""


def shares_of_total(rows: Sequence[SpendRow], totals: Iterable[Money]) -> list[float]:
    """Each row's part of its currency's total, 0 of none."""
    sums = {total.currency_code: to_decimal(total) for total in totals}
    return [
        float(to_decimal(row.amount) / whole) if (whole := sums.get(row.amount.currency_code)) else 0.0
        for row in rows
    ]


VIEWS = (
    page(PATH, show_spend, CONSUMER),
    page(f"{PATH}/table.csv", download_spend, CONSUMER),
)
