"""The SQL of reports, which queries.sql beside it says."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT
from ams.usage.v1 import report_service_pb2 as pb
from ams_common.queries import QueryStore, column, many, maybe_value, one, page, run, value

from usage_svc.reporting.reports import Report
from usage_svc.reporting.tables import CallLine, UsageLine

_TIMEOUT_S = 120.0


class Counted(NamedTuple):
    """How many reports an owner has."""

    unfinished: int
    kept: int


class ReportStore(QueryStore, package="usage_svc", file="reporting/queries.sql"):
    """Reports, and the rows that they are made of."""

    upsert_merchant = run()
    find_merchant_name = maybe_value(str)
    consumers_of_merchant = column(UUID)
    lock_owner = value(bool)
    _count_reports = one(Counted)
    _add_report = one(Report)
    announce_reports = value(bool)
    list_reports = page(Report)
    find_report = one(Report)
    lock_own_report = one(Report)
    _share_report = one(Report)
    delete_report = run()
    delete_reports_of_others = run()
    claim_report = one(Report)
    beat = run()
    finish_report = run()
    fail_report = run()
    plan_each_time = run()
    find_dropped_day = maybe_value(date)
    reports_to_purge = many(Report)
    remove_report = run()

    async def count_reports(self, **values: Any) -> Counted:
        counted = await self._count_reports(**values)
        assert counted is not None, "an aggregate gives a row"
        return counted

    async def add_report(self, **values: Any) -> Report:
        report = await self._add_report(**values)
        assert report is not None, "an insert gives its row"
        return report

    async def share_report(self, **values: Any) -> Report:
        report = await self._share_report(**values)
        assert report is not None, "its row is locked"
        return report

    async def lines(
        self, report: Report, start: datetime, end: datetime, chunk: int
    ) -> AsyncIterator[Sequence[Any]]:
        """The report's rows of a stretch of time, in order and in chunks, however many they are."""
        name, make = {
            pb.BY_DAY: ("lines_of_days", UsageLine._make),
            pb.BY_HOUR: ("lines_of_hours", UsageLine._make),
            pb.CALLS: ("lines_of_calls", CallLine._make),
        }[report.detail]
        found = self.queries.chunks(
            self.connection,
            name,
            chunk,
            _TIMEOUT_S,
            # Of a project it is all that its keys have used, whoever pays.
            consumer_id=report.owner_id
            if report.role == CONSUMER and report.project_id is None
            else report.consumer_id,
            merchant_id=report.owner_id if report.role == MERCHANT else None,
            service_id=report.service_id,
            project_id=report.project_id,
            member_id=report.owner_id if report.role == CONSUMER else None,
            range_start=start,
            range_end=end,
        )
        async for rows in found:
            yield [make(row.values()) for row in rows]
