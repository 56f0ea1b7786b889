"""Threshold alerts on usage and spend: the rules, and those that have fired; alike for all roles."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import alert_service_pb2 as pb
from ams_common.clock import to_timestamp, utc_now
from ams_common.errors import AppError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from starlette.responses import Response

from ams_bff.http.downloads import message_download
from ams_bff.http.routing import View, action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.amounts import CURRENCY_CHOICES
from ams_bff.ui.formats import money_of, number, size
from ams_bff.ui.forms import Form
from ams_bff.usage.ranges import FILTERS_OF
from ams_bff.views.project_names import project_choices
from ams_bff.views.usage_names import Choice, key_choices, labels_of, service_choices

PATHS = {CONSUMER: "/dashboard/alerts", MERCHANT: "/merchant/alerts", ADMIN: "/admin/alerts"}
_PAGE_SIZE = 25
# The name, its words, and what a threshold of it looks like.
METRICS = {
    "REQUEST_COUNT": ("Requests", "such as 10000"),
    "BYTES": ("Data in both directions, in bytes", "such as 1000000000, which is 1 GB"),
    "ERROR_RATE": ("Errors, in % of the requests", "such as 5"),
    "SPEND": ("Spend", "such as 99.90"),
}
PERIODS = {"ALERT_HOUR": "Hour", "ALERT_DAY": "Day", "ALERT_MONTH": "Month"}
_NUMBER = re.compile(r"\d{1,18}(?:\.\d{1,6})?")
_MOST_THRESHOLDS = 10
# What the form names that isn't there, by the error's code.
_NOT_FOUND = {
    "project_not_found": ("project_id", "is none of yours"),
    "consumer_not_found": ("consumer", "is called like none of yours"),
    "key_not_found": ("key", "is called like none that has called your services"),
}
_SENT_TWICE = Flash("The alert was made already. Its webhook's secret was shown then.", "plain")
_COLUMNS = (
    "fired_at",
    "rule:rule_name",
    "metric",
    "period",
    "period_start",
    "threshold",
    "value",
    "currency:currency_code",
    "webhook:webhook_status",
    "alert_id",
)


async def show_alerts(visit: Visit) -> Response:
    """What has fired, the newest first, and the rules."""
    fired, listed = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token),
        visit.api.alerts.ListAlertRules(role=visit.role),
    )
    rules = listed.alert_rules
    filters = _filters_of(visit.role)
    labels = await asyncio.gather(
        # Lists: a generator would look for `field` when it is the last one.
        *(labels_of(visit, kind, [getattr(rule, field) for rule in rules]) for kind, field in filters.items())
    )
    scopes = {
        rule.alert_rule_id: [
            (kind, words[getattr(rule, field)])
            for (kind, field), words in zip(filters.items(), labels, strict=True)
            if getattr(rule, field)
        ]
        for rule in rules
    }
    return await visit.render(
        "alerts/list.html",
        path=PATHS[visit.role],
        alerts=fired.alerts,
        unread=fired.unread,
        next_token=fired.next_page_token,
        rules=rules,
        scopes=scopes,
        amount=amount_words,
        metrics=METRICS,
        periods=PERIODS,
        pb=pb,
        # What comes between this page and the button isn't read by it.
        now=utc_now().isoformat(),
    )


def _filters_of(role: Role.ValueType) -> Mapping[str, str]:
    """What a rule can be about, by the names in URLs: fields of the request and of the rule."""
    return {kind: field for kind, field in FILTERS_OF[role].items() if kind != "status"}


def amount_words(metric: pb.AlertMetric.ValueType, text: str, currency: str) -> str:
    """A threshold or a value: "10,000", "5%", "€99.90"."""
    amount = Decimal(text)
    match metric:
        case pb.ERROR_RATE:
            return f"{(amount * 100).normalize():f}%"
        case pb.SPEND:
            return money_of(amount, currency)
        case pb.BYTES:
            return str(size(float(amount)).striptags())
        case _:
            return number(int(amount)) if amount == amount.to_integral_value() else text


async def show_new(visit: Visit, form: Form | None = None) -> Response:
    start = Form.starting(
        metric="REQUEST_COUNT",
        period="ALERT_DAY",
        currency_code="EUR",
        sends_mail="true",
        **{field: visit.query.get(kind, "") for kind, field in _filters_of(visit.role).items()},
    )
    services: Sequence[Choice] = await visit.or_none_if_down(service_choices(visit)) or []
    keys: Sequence[Choice] = await visit.or_none_if_down(key_choices(visit)) or []
    return await visit.render(
        "alerts/new.html",
        form=form or start,
        path=PATHS[visit.role],
        services=[("", "All services"), *services],
        keys=[("", "All keys"), *keys],
        projects=await project_choices(visit),
        metrics=[(name, *words) for name, words in METRICS.items()],
        periods=[(name, f"In each {words.lower()} of UTC", "") for name, words in PERIODS.items()],
        currencies=CURRENCY_CHOICES,
    )


async def create_rule(visit: Visit) -> Response:
    """Shows a webhook's secret, once."""
    form = visit.form
    try:
        made = await visit.api.alerts.CreateAlertRule(**_rule_fields(form, visit.role), role=visit.role)
    except NotFoundError as error:
        form.refuse(*_NOT_FOUND[error.code])
        return await show_new(visit, form)
    except AppError as error:
        return await show_new(visit, form.refused(error, PermissionDeniedError))
    path, rule = PATHS[visit.role], made.alert_rule
    if not rule.webhook_url:
        return await visit.redirect(path, f"“{rule.name}” watches from now on.")
    if not made.webhook_secret:
        return await visit.redirect(path, _SENT_TWICE)
    return await visit.render("alerts/secret.html", path=path, rule=rule, secret=made.webhook_secret)


def _rule_fields(form: Form, role: Role.ValueType) -> dict[str, Any]:
    """The request's, as far as the form can be read. Raises InvalidArgumentError."""
    metric, period = form["metric"], form["period"]
    if not form["name"]:
        form.refuse("name", "is required")
    if metric not in METRICS:
        form.refuse("metric", "is required")
    if period not in PERIODS:
        form.refuse("period", "is required")
    typed = form["thresholds"].replace(";", " ").split()
    if not typed or len(typed) > _MOST_THRESHOLDS or not all(map(_NUMBER.fullmatch, typed)):
        form.refuse("thresholds", "must be one to ten numbers, such as 100 500 99.90")
        typed = []
    needs_least = metric == "ERROR_RATE"
    least = form.whole("min_requests", 1, 10**12) if needs_least or form["min_requests"] else 0
    form.check()
    # An error rate is typed as a percentage, and kept as a fraction.
    thresholds = [f"{(Decimal(each) / 100).normalize():f}" for each in typed] if needs_least else typed
    return {
        "name": form["name"],
        "metric": pb.AlertMetric.Value(metric),
        "period": pb.AlertPeriod.Value(period),
        "thresholds": thresholds,
        "currency_code": form["currency_code"] if metric == "SPEND" else "",
        **{field: form[field] for field in _filters_of(role).values()},
        "min_requests": least,
        "sends_mail": form["sends_mail"] == "true",
        "webhook_url": form["webhook_url"],
        "idempotency_key": form["idempotency_key"],
    }


async def delete_rule(visit: Visit) -> Response:
    """What has fired already stays in the list."""
    await visit.api.alerts.DeleteAlertRule(alert_rule_id=visit.parameter("alert_rule_id"))
    return await visit.redirect(PATHS[visit.role], "The alert is deleted: it watches no more.")


async def mark_read(visit: Visit) -> Response:
    """Those that stood on the page when it was drawn. Raises InvalidArgumentError."""
    try:
        drawn_at = datetime.fromisoformat(visit.form["until"])
    except ValueError:
        raise InvalidArgumentError("until_invalid", "The form doesn't say what was seen.") from None
    if drawn_at.tzinfo is None:
        drawn_at = drawn_at.replace(tzinfo=UTC)
    await visit.api.alerts.MarkAlertsRead(until=to_timestamp(drawn_at), role=visit.role)
    return await visit.redirect(PATHS[visit.role])


async def _ask(visit: Visit, size_: int, page_token: str) -> pb.ListAlertsResponse:
    return await visit.api.alerts.ListAlerts(page_size=size_, page_token=page_token, role=visit.role)


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = PATHS[role]
    return (
        page(path, show_alerts, role),
        message_download(path, "alerts", _COLUMNS, _ask, "alerts", role),
        page(f"{path}/new", show_new, role),
        action(path, create_rule, role),
        action(f"{path}/read", mark_read, role),
        action(f"{path}/{{alert_rule_id}}/delete", delete_rule, role),
    )


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
