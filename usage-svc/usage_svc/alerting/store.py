"""The SQL of alerts, which queries.sql beside it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ams.usage.v1 import alert_service_pb2 as pb
from ams_common.queries import QueryStore, column, many, page, run, value

from usage_svc.alerting.rules import AlertRule, Figures, end_of


@dataclass(frozen=True, slots=True)
class FiredAlert:
    """A threshold that was reached in a period, with what its rule says."""

    alert_id: UUID
    alert_rule_id: UUID
    rule_name: str
    metric: pb.AlertMetric.ValueType
    period: pb.AlertPeriod.ValueType
    period_start: datetime
    threshold: str
    value: str
    currency_code: str
    fired_at: datetime


@dataclass(frozen=True, slots=True)
class Alert(FiredAlert):
    """As its owner sees it."""

    webhook_status: pb.WebhookStatus.ValueType
    is_read: bool


@dataclass(frozen=True, slots=True)
class Delivery(FiredAlert):
    """One that is to be delivered to a webhook, for the `attempts`th time."""

    attempts: int
    webhook_url: str
    webhook_secret: bytes


class _RuleFigures(NamedTuple):
    alert_rule_id: UUID
    period_start: datetime
    requests: int
    errors: int
    bytes: int


class RuleService(NamedTuple):
    """A service that a rule's usage is of."""

    alert_rule_id: UUID
    service_id: UUID


# A rule in one of its periods, by the period's start.
Look = tuple[AlertRule, datetime]


class AlertStore(QueryStore, package="usage_svc", file="alerting/queries.sql"):
    """Rules and alerts."""

    plan_each_time = run()
    lock_rules_of_owner = value(bool)
    keys_of_merchant = column(UUID)
    count_rules = value(int)
    add_rule = run()
    rules_of_owner = many(AlertRule)
    rules_of_project = many(AlertRule)
    rules_by_ids = many(AlertRule)
    delete_rule = run()
    delete_rules_of_others = run()
    list_alerts = page(Alert)
    list_alerts_of_project = page(Alert)
    count_unread = value(int)
    mark_read = run()
    take_late_series = column(int)
    touched_rules = column(UUID)
    next_rules = column(UUID)
    _figures_from_hours = many(_RuleFigures)
    _figures_from_days = many(_RuleFigures)
    services_of_rules = many(RuleService)
    add_alerts = column(UUID)
    claim_deliveries = many(Delivery)
    set_delivery = run()
    purge_alerts = run()

    async def figures(self, looks: Sequence[Look]) -> dict[tuple[UUID, datetime], Figures]:
        """What the usage of rules comes to, by rule and period: from the rollup that fits the period."""
        hourly = [look for look in looks if look[0].period == pb.ALERT_HOUR]
        others = [look for look in looks if look[0].period != pb.ALERT_HOUR]
        found = [
            *await self._figures_from_hours(**_wanted(hourly)),
            *await self._figures_from_days(**_wanted(others)),
        ]
        return {
            (each.alert_rule_id, each.period_start): Figures(each.requests, each.errors, each.bytes)
            for each in found
        }


def _wanted(looks: Sequence[Look]) -> dict[str, object]:
    return {
        "rule_ids": [rule.alert_rule_id for rule, _ in looks],
        "starts": [start for _, start in looks],
        "ends": [end_of(rule.period, start) for rule, start in looks],
    }
