"""Answers to questions, each from one view of the database."""

from dataclasses import dataclass
from datetime import datetime

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.database import Database
from ams_common.project_rights import ProjectRight, roles_with
from ams_common.pseudonyms import Pseudonyms

from usage_svc.events import Series
from usage_svc.questions.calls import CallQuestion, answer_of
from usage_svc.questions.cover import Reading, Rollup
from usage_svc.questions.groups import Groups
from usage_svc.questions.scopes import Scope, group_names
from usage_svc.questions.store import QuestionStore
from usage_svc.questions.usage import Question, report_of


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Who is asked."""

    database: Database
    pseudonyms: Pseudonyms

    async def usage(self, question: Question, now: datetime) -> pb.UsageReport:
        """Raises InvalidArgumentError range_too_large."""
        async with self.database.read() as opened:
            store = QuestionStore(opened.connection)
            await store.plan_each_time()
            await store.sum_by_hashing()
            series = await self._series_in(store, question.scope)
            used_ids = {
                series_id
                for stretch in question.stretches()
                for series_id in await store.used_series(stretch, series, question.status_classes)
            }
            used = [each for each in series if each.series_id in used_ids]
            wanted = series if question.with_previous else used
            groups = await self._groups(store, question, wanted)
            read_for = await self._summed(store, question, groups, wanted)
            readings = [
                (
                    reading,
                    await store.usage_by_slot(
                        reading,
                        # Sums are kept from hours on.
                        groups.of_all(wanted, {}) if reading.rollup is Rollup.MINUTE else read_for,
                        groups.of_class,
                        question.status_classes,
                    ),
                )
                for reading in await _kept(store, question.readings())
            ]
        return report_of(question, groups, used, readings, now)

    async def _groups(self, store: QuestionStore, question: Question, series: list[Series]) -> Groups:
        """The groups to read: all that there may be, or those that will be shown."""
        names = group_names(question.scope.asker, question.group_by, series, self.pseudonyms)
        groups = Groups.of(question.group_by, names)
        if not question.is_narrowed(groups):
            return groups
        requests = [
            each
            for reading in await _kept(store, question.whole())
            for each in await store.usage_by_series(reading, series, question.status_classes)
        ]
        return groups.narrowed(requests, question.top)

    async def _summed(
        self, store: QuestionStore, question: Question, groups: Groups, series: list[Series]
    ) -> dict[int, int]:
        """The series to read for `series`, with their groups: one that stands for all of a consumer's, where
        whole consumers are asked about, and few groups shown."""
        if not question.scope.is_of_whole_consumers:
            return groups.of_all(series, {})
        consumer_ids = list({each.consumer_id for each in series})
        sum_of = dict(await store.sums_of_consumers(consumer_ids=consumer_ids))
        if not question.is_by_series():
            return groups.of_all(series, sum_of)
        if groups.has_other:
            return groups.of_sums(series, sum_of)
        return groups.of_all(series, {})

    async def calls(self, question: CallQuestion) -> pb.ListCallsResponse:
        """A page of the log, newest first."""
        async with self.database.read() as opened:
            store = QuestionStore(opened.connection)
            await store.plan_each_time()
            scope = question.scope
            series = None if scope.is_everything else await self._series_in(store, scope)
            series_ids = None if series is None else [each.series_id for each in series]
            if question.request_id:
                found = await store.calls_by_request_id(
                    **question.parameters(), **question.names(), series_ids=series_ids
                )
            elif series_ids is None:
                found = await store.calls_of_platform(**question.parameters())
            else:
                found = await store.calls_of_series(**question.parameters(), series_ids=series_ids)
            if series is None:
                series = await store.series_by_ids(series_ids=[each.series_id for each in found])
        return answer_of(question, found, series, self.pseudonyms)

    async def _series_in(self, store: QuestionStore, scope: Scope) -> list[Series]:
        """The series whose calls a question is about: here, and nowhere else, it is decided whose figures and
        calls anybody sees."""
        if scope.asker.role == CONSUMER and scope.project_id is not None:
            return await store.series_of_project(
                **scope.parameters(), roles=roles_with(ProjectRight.SEE_USAGE)
            )
        select = {
            CONSUMER: store.series_of_consumer,
            MERCHANT: store.series_of_merchant,
            ADMIN: store.series_of_platform,
        }[scope.asker.role]
        return scope.select(await select(**scope.parameters()), self.pseudonyms)


async def _kept(store: QuestionStore, readings: list[Reading]) -> list[Reading]:
    """Without the minutes that have been thinned: a look for each of many days and series, at every
    partition."""
    if all(reading.rollup is not Rollup.MINUTE for reading in readings):
        return readings
    oldest = await store.oldest_minute()
    kept = [each.since(oldest) if each.rollup is Rollup.MINUTE else each for each in readings]
    return [reading for reading in kept if reading.starts]
