"""Rules of alerts: which can be made, which periods they look at, and which thresholds are reached. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN, Role
from ams.usage.v1 import alert_service_pb2 as pb
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_rating.currencies import MINOR_UNIT_DIGITS

from usage_svc.alerting.webhooks import is_refused_host
from usage_svc.questions.scopes import check_filters
from usage_svc.reporting.reports import check_consumer_filter

MAX_RULES = 100
# Usage of a period that has ended may still be on its way.
GRACE = timedelta(hours=6)
_DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,6})?")
_RATE_DIGITS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A rule as it is stored."""

    alert_rule_id: UUID
    owner_id: UUID
    role: Role.ValueType
    name: str
    metric: pb.AlertMetric.ValueType
    period: pb.AlertPeriod.ValueType
    thresholds: Sequence[str]
    currency_code: str
    service_id: UUID | None
    api_key_id: UUID | None
    project_id: UUID | None
    # As they were asked for: whom and which key they mean is in the ids.
    consumer: str
    key: str
    consumer_id: UUID | None
    merchant_id: UUID | None
    min_requests: int
    sends_mail: bool
    webhook_url: str
    created_at: datetime


class Figures(NamedTuple):
    """What the usage of a period comes to so far."""

    requests: int = 0
    errors: int = 0
    bytes: int = 0
    spend: Decimal = Decimal(0)


class Reached(NamedTuple):
    """A threshold that is reached, and the value that reached it: decimals in words of their own."""

    threshold: str
    value: str


def check_request(
    request: pb.CreateAlertRuleRequest, role: Role.ValueType, *, allow_private_webhooks: bool
) -> None:
    """Raises InvalidArgumentError for a rule that can't be made."""
    check_filters(request, role)
    check_consumer_filter(request.consumer, role)
    _check_thresholds(request)
    if (request.metric == pb.ERROR_RATE) != bool(request.min_requests):
        raise _invalid(
            "alert_rule_invalid", "minRequests", "must be given for an error rate, and only for it"
        )
    if request.metric == pb.SPEND:
        _check_spend(request, role)
    elif request.currency_code:
        raise _invalid("alert_rule_invalid", "currencyCode", "must be given for spend only")
    if request.webhook_url and not allow_private_webhooks:
        url = urlsplit(request.webhook_url)
        if url.scheme != "https":
            raise _invalid("webhook_url_invalid", "webhookUrl", "must be an https URL")
        if is_refused_host(url.hostname or ""):
            raise _invalid("webhook_url_private", "webhookUrl", "must not name a private or loopback host")


def _check_thresholds(request: pb.CreateAlertRuleRequest) -> None:
    wrong = [text for text in request.thresholds if not _DECIMAL.fullmatch(text) or not Decimal(text)]
    if wrong:
        raise _invalid("threshold_invalid", "thresholds", "must be decimals above zero")
    values = [Decimal(text) for text in request.thresholds]
    if len(set(values)) < len(values):
        raise _invalid("threshold_invalid", "thresholds", "must not name one twice")
    is_whole = all(value == value.to_integral_value() for value in values)
    if request.metric in (pb.REQUEST_COUNT, pb.BYTES) and not is_whole:
        raise _invalid("threshold_invalid", "thresholds", "must be whole numbers")
    if request.metric == pb.ERROR_RATE and max(values) > 1:
        raise _invalid("threshold_invalid", "thresholds", "must be at most 1, which is every call")


def _check_spend(request: pb.CreateAlertRuleRequest, role: Role.ValueType) -> None:
    if request.currency_code not in MINOR_UNIT_DIGITS:
        raise _invalid("alert_rule_invalid", "currencyCode", "must be a currency of ISO 4217")
    # Billing counts by days: what an hour costs can't be told.
    if request.period == pb.ALERT_HOUR:
        raise _invalid("alert_rule_invalid", "period", "must be the day or the month for spend")
    if role == ADMIN and not (request.consumer or request.merchant_id or request.project_id):
        raise _invalid("alert_rule_invalid", "consumer", "or a merchant or project must be given for spend")


def start_of(period: pb.AlertPeriod.ValueType, at: datetime) -> datetime:
    """The start of the UTC period that a moment is in."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    if period == pb.ALERT_HOUR:
        return hour
    day = hour.replace(hour=0)
    return day if period == pb.ALERT_DAY else day.replace(day=1)


def end_of(period: pb.AlertPeriod.ValueType, start: datetime) -> datetime:
    """The first moment after the period that begins at `start`."""
    longest = {pb.ALERT_HOUR: timedelta(hours=1), pb.ALERT_DAY: timedelta(days=1)}
    return start_of(period, start + longest.get(period, timedelta(days=31)))


def periods_to_check(period: pb.AlertPeriod.ValueType, created_at: datetime, now: datetime) -> list[datetime]:
    """The starts of the periods that may reach a threshold now: the present one, and until the grace time is
    over the one before, unless the rule is younger."""
    present = start_of(period, now)
    before = start_of(period, present - timedelta(microseconds=1))
    is_open = now < present + GRACE and created_at < present
    return [before, present] if is_open else [present]


def reached(rule: AlertRule, figures: Figures) -> list[Reached]:
    """The thresholds that the figures reach, the lowest first."""
    limits = sorted(rule.thresholds, key=Decimal)
    match rule.metric:
        case pb.REQUEST_COUNT:
            value = Decimal(figures.requests)
        case pb.BYTES:
            value = Decimal(figures.bytes)
        case pb.SPEND:
            digits = MINOR_UNIT_DIGITS[rule.currency_code]
            value = figures.spend.quantize(Decimal(1).scaleb(-digits))
        case _:
            # Exact: without a division that rounds.
            over = [text for text in limits if figures.errors >= Decimal(text) * figures.requests]
            is_enough = figures.requests >= max(rule.min_requests, 1)
            return [Reached(text, _rate(figures)) for text in over] if is_enough else []
    return [Reached(text, f"{value:f}") for text in limits if value >= Decimal(text)]


def _rate(figures: Figures) -> str:
    rate = (Decimal(figures.errors) / figures.requests).quantize(_RATE_DIGITS)
    return f"{rate.normalize():f}"


def in_words(rule: AlertRule, value: str) -> str:
    """A threshold or value: "1,000 requests", "5 % errors", "EUR 99.90"."""
    match rule.metric:
        case pb.REQUEST_COUNT:
            return f"{int(Decimal(value)):,} requests"
        case pb.BYTES:
            return f"{int(Decimal(value)):,} bytes"
        case pb.ERROR_RATE:
            return f"{(Decimal(value) * 100).normalize():f} % errors"
    return f"{rule.currency_code} {Decimal(value):,}"


def period_words(period: pb.AlertPeriod.ValueType, start: datetime) -> str:
    """ "2026-11", "2026-11-29" or "2026-11-29 14:00"."""
    formats = {pb.ALERT_HOUR: "%Y-%m-%d %H:%M", pb.ALERT_DAY: "%Y-%m-%d"}
    return start.strftime(formats.get(period, "%Y-%m"))


def _invalid(code: str, field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(code, f"{field} {description}.", [FieldViolation(field, description)])
