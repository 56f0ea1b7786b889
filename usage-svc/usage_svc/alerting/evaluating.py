"""Looking in the background at the rules whose usage has grown, and letting alerts fire."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ams.identity.v1.notifications_pb2 import Notification, ThresholdReached
from ams.usage.v1 import alert_service_pb2 as pb
from ams_common import metrics, topics
from ams_common.clock import Clock, to_timestamp, utc_now
from ams_common.database import Database
from ams_common.errors import AppError
from ams_common.ids import uuid7
from ams_common.loops import run_forever

from usage_svc.alerting.rules import (
    AlertRule,
    Figures,
    Reached,
    in_words,
    period_words,
    periods_to_check,
    reached,
)
from usage_svc.alerting.spend import SpendClient
from usage_svc.alerting.store import AlertStore, Look
from usage_svc.events import LATE_AFTER

log = logging.getLogger(__name__)

_EVERY_S = 15.0
_ALL_EVERY = timedelta(minutes=5)
_CHUNK = 500
_LEAST_ID = UUID(int=0)
_KEEP_ALERTS = timedelta(days=400)
_PURGE_EVERY_S = 3600.0
_PURGE_BATCH = 1000

# A threshold that a rule has reached in a period.
_Fired = tuple[AlertRule, datetime, Reached]


@dataclass(kw_only=True, eq=False)
class AlertEvaluator:
    """Several processes may look at the same time: what has fired is decided by a unique constraint."""

    database: Database
    spend: SpendClient
    clock: Clock = utc_now
    _all_at: datetime | None = field(default=None, init=False)

    async def run(self) -> None:
        """For ever."""
        await run_forever("alerts", self.evaluate, _EVERY_S)

    async def evaluate(self) -> None:
        """Looks at the rules whose consumer or merchant had usage of late, also where that was counted long
        after its time; every few minutes at all: those of admins about everybody, and what a crash missed."""
        now = self.clock()
        if self._all_at is None or now - self._all_at >= _ALL_EVERY:
            await self.evaluate_all()
            self._all_at = now
        else:
            await self.evaluate_touched()

    async def evaluate_touched(self) -> None:
        """Those whose usage has grown of late, whenever it was."""
        async with self.database.change_by_system("alert.look", audited=False) as change:
            late_series_ids = await AlertStore(change.connection).take_late_series()
        async with self.database.read() as opened:
            store = AlertStore(opened.connection)
            await store.plan_each_time()
            rule_ids = await store.touched_rules(
                since=self.clock() - LATE_AFTER, late_series_ids=late_series_ids
            )
        for first in range(0, len(rule_ids), _CHUNK):
            await self._look(rule_ids[first : first + _CHUNK])

    async def evaluate_all(self) -> None:
        """All of them: also those of admins about everybody."""
        after_id = _LEAST_ID
        while True:
            async with self.database.read() as opened:
                rule_ids = await AlertStore(opened.connection).next_rules(after_id=after_id, limit=_CHUNK)
            if not rule_ids:
                return
            await self._look(rule_ids)
            after_id = rule_ids[-1]

    async def _look(self, rule_ids: Sequence[UUID]) -> None:
        async with self.database.read() as opened:
            store = AlertStore(opened.connection)
            await store.plan_each_time()
            rules = await store.rules_by_ids(rule_ids=rule_ids)
            now = self.clock()
            looks = [
                (rule, start)
                for rule in rules
                for start in periods_to_check(rule.period, rule.created_at, now)
            ]
            of_spend = [look for look in looks if look[0].metric == pb.SPEND]
            of_usage = [look for look in looks if look[0].metric != pb.SPEND]
            figures = await store.figures(of_usage)
            spending = [rule.alert_rule_id for rule, _ in of_spend if rule.merchant_id and rule.consumer_id]
            services = await store.services_of_rules(rule_ids=spending) if spending else []
        await self._fire(_reached(of_usage, figures))
        if of_spend:
            service_ids = defaultdict(list)
            for each in services:
                service_ids[each.alert_rule_id].append(each.service_id)
            await self._look_at_spend(of_spend, service_ids)

    async def _look_at_spend(self, looks: Sequence[Look], service_ids: dict[UUID, list[UUID]]) -> None:
        try:
            spend = await self.spend.spend(looks, service_ids)
        except AppError as error:
            # The other rules don't wait for billing-svc; these are looked at again in a moment.
            metrics.counter("ams_alert_spend_faults", "Times that spend couldn't be asked for.").inc()
            log.warning("spend waits", extra={"error": repr(error)})
            return
        await self._fire(_reached(looks, {key: Figures(spend=amount) for key, amount in spend.items()}))

    async def _fire(self, fired: Sequence[_Fired]) -> None:
        if not fired:
            return
        now = self.clock()
        by_id = {uuid7(): each for each in fired}
        async with self.database.change_by_system("alert.fire", audited=False) as change:
            new = await AlertStore(change.connection).add_alerts(
                alert_ids=list(by_id),
                rule_ids=[rule.alert_rule_id for rule, _, _ in by_id.values()],
                starts=[start for _, start, _ in by_id.values()],
                thresholds=[each.threshold for _, _, each in by_id.values()],
                values=[each.value for _, _, each in by_id.values()],
                now=now,
            )
            for alert_id in new:
                rule = by_id[alert_id][0]
                if rule.sends_mail:
                    message = _notification(alert_id, by_id[alert_id], now)
                    change.publish(topics.NOTIFICATIONS, str(rule.owner_id), message)
        _counter().inc(len(new))

    async def keep_purged(self) -> None:
        """For ever, hourly: alerts of more than a year ago go."""

        async def work() -> None:
            purged = _PURGE_BATCH
            while purged == _PURGE_BATCH:
                async with self.database.change_by_system("alert.purge", audited=False) as change:
                    purged = await AlertStore(change.connection).purge_alerts(
                        before=self.clock() - _KEEP_ALERTS, limit=_PURGE_BATCH
                    )
                await asyncio.sleep(0)

        await run_forever("retention of alerts", work, _PURGE_EVERY_S)


def _reached(looks: Sequence[Look], figures: dict[tuple[UUID, datetime], Figures]) -> list[_Fired]:
    return [
        (rule, start, each)
        for rule, start in looks
        for each in reached(rule, figures.get((rule.alert_rule_id, start), Figures()))
    ]


def _notification(alert_id: UUID, fired: _Fired, now: datetime) -> Notification:
    rule, start, each = fired
    period = period_words(rule.period, start)
    return Notification(
        # By its cause, not by the alert: one that fires anew after a restore sends no second mail.
        notification_id=f"threshold-reached/{rule.alert_rule_id}/{period}/{each.threshold}",
        user_id=str(rule.owner_id),
        occurred_at=to_timestamp(now),
        threshold_reached=ThresholdReached(
            alert_id=str(alert_id),
            rule_name=rule.name,
            threshold=in_words(rule, each.threshold),
            value=in_words(rule, each.value),
            period=period,
        ),
    )


def _counter() -> Any:
    return metrics.counter("ams_alerts", "Alerts that have fired.")
