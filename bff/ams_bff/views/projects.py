"""A consumer's projects: all of them, a new one, and what happens in one."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from ams.billing.v1 import project_spend_service_pb2 as spend_pb
from ams.identity.v1 import project_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import alert_service_pb2 as alerts_pb
from ams_common.errors import AppError, NotFoundError
from ams_common.money import to_decimal
from ams_common.project_rights import ProjectRight, may
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.usage import figures, reports
from ams_bff.views.alerts import METRICS, PERIODS, amount_words
from ams_bff.views.consumer_lists import newest_by_service
from ams_bff.views.naming import name_of, service_names
from ams_bff.views.project_names import my_projects

T = TypeVar("T")

PATH = "/dashboard/projects"
_SHOWN = 10
_MONTHS = 6
_PAGE_SIZE = 200


@dataclass(frozen=True, slots=True)
class SpendChart:
    """A project's spend in one currency, month by month, as ui.chart takes it."""

    currency: str
    rows: Sequence[tuple[int, str, Sequence[float]]]


async def list_projects(visit: Visit) -> Response:
    """With the invitations that wait for the reader."""
    projects, received = await asyncio.gather(
        my_projects(visit, with_closed=visit.query.get("status") == "all"),
        visit.api.projects.ListReceivedInvitations(),
    )
    return await visit.render("projects/list.html", projects=projects, received=received.invitations)


async def show_form(visit: Visit) -> Response:
    return await visit.render("projects/new.html", form=Form())


async def create_project(visit: Visit) -> Response:
    form = visit.form
    try:
        if not form["name"]:
            form.refuse("name", "is required")
        form.check()
        made = await visit.api.projects.CreateProject(
            name=form["name"], description=form["description"], idempotency_key=form["idempotency_key"]
        )
    except AppError as error:
        return await visit.render("projects/new.html", form=form.refused(error))
    return await visit.redirect(
        f"{PATH}/{made.project_id}", f"“{made.name}” is there. Ask for access, make a key, invite others."
    )


async def show_project(visit: Visit) -> Response:
    """All that happens in it; what a part of AMS that is down would tell is left out."""
    project_id = visit.parameter("project_id")
    api = visit.api
    (project, listed), (keys, requests, report), (spend, pulls, rules, alerts) = await asyncio.gather(
        asyncio.gather(
            api.projects.GetProject(project_id=project_id),
            api.projects.ListProjectMembers(project_id=project_id),
        ),
        asyncio.gather(
            or_none(visit, api.keys.ListKeys(page_size=_SHOWN, project_id=project_id)),
            or_none(visit, api.keys.ListConsumerAccessRequests(page_size=_PAGE_SIZE, project_id=project_id)),
            reports.ask_shown(visit, project_id=project_id),
        ),
        asyncio.gather(
            or_none(visit, api.project_spend.GetProjectSpend(project_id=project_id, months=_MONTHS)),
            or_none(visit, api.project_images.ListProjectPulls(project_id=project_id, page_size=_SHOWN)),
            or_none(visit, api.alerts.ListAlertRules(project_id=project_id, role=CONSUMER)),
            or_none(visit, api.alerts.ListAlerts(project_id=project_id, role=CONSUMER, page_size=_SHOWN)),
        ),
    )
    access = newest_by_service(requests.access_requests) if requests else []
    months = spend.months if spend else []
    shown_ids = [
        *(each.service_id for each in access),
        *(share.service_id for month in months[-1:] for share in month.shares),
        *(service_id for key in (keys.keys if keys else []) for service_id in key.service_ids),
        *(image.service_id for image in (pulls.images if pulls else [])),
    ]
    known = await service_names(visit, shown_ids)
    return await visit.render(
        "projects/show.html",
        project=project,
        can=rights_of(project),
        members=listed.members,
        people={member.user_id: member.name for member in listed.members},
        keys=keys.keys if keys else None,
        has_more_keys=bool(keys and keys.next_page_token),
        access=access,
        trend=figures.trend(report),
        month=months[-1] if months else None,
        charts=spend_charts(months),
        pulls=pulls.images if pulls else [],
        rules=rules.alert_rules if rules else [],
        alerts=alerts.alerts if alerts else [],
        names={service_id: name_of(known, service_id) for service_id in shown_ids},
        amount=amount_words,
        metrics=METRICS,
        periods=PERIODS,
        alerts_pb=alerts_pb,
    )


async def or_none(visit: Visit, asked: Awaitable[T]) -> T | None:
    """None also while a service hasn't heard of a project that was made a moment ago: whether there is one,
    identity-svc says."""
    try:
        return await visit.or_none_if_down(asked)
    except NotFoundError:
        return None


def rights_of(project: pb.Project) -> Mapping[str, bool]:
    """What the reader may do in the project, by the right's name; in a closed one nothing but look."""
    looks = ("see_project", "see_keys", "see_usage", "see_spend")
    is_open = not project.HasField("closed_at")
    return {
        right.value: may(project.role, right) and (is_open or right.value in looks) for right in ProjectRight
    }


def spend_charts(months: Sequence[spend_pb.ProjectSpend]) -> list[SpendChart]:
    """One for each currency that anything was spent in."""
    amounts: defaultdict[str, dict[str, Decimal]] = defaultdict(dict)
    for month in months:
        for total in month.totals:
            amounts[total.currency_code][month.period] = to_decimal(total)
    return [
        SpendChart(
            currency,
            [
                (_start_s(each.period), _words(each.period), [float(by_month.get(each.period, 0))])
                for each in months
            ],
        )
        for currency, by_month in sorted(amounts.items())
    ]


def _start_s(period: str) -> int:
    return int(datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC).timestamp())


def _words(period: str) -> str:
    return datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC).strftime("%b %Y")


VIEWS = (
    page(PATH, list_projects, CONSUMER),
    page(f"{PATH}/new", show_form, CONSUMER),
    action(PATH, create_project, CONSUMER),
    page(f"{PATH}/{{project_id}}", show_project, CONSUMER),
)
