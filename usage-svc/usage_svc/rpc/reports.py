"""The RPCs of ReportService."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ams.identity.v1.notifications_pb2 import Notification, ReportShared
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import report_service_pb2 as pb
from ams.usage.v1 import report_service_pb2_grpc as rpc
from ams_common import topics
from ams_common.clock import Clock, to_timestamp, utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError, NotFoundError, ResourceExhaustedError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.project_rights import ProjectRight
from ams_common.projects import require_right
from ams_common.pseudonyms import Pseudonyms

from usage_svc.file_store import FileStore
from usage_svc.reporting.reports import MAX_KEPT, MAX_UNFINISHED, Report, check_request
from usage_svc.reporting.store import ReportStore
from usage_svc.roles import acting_role
from usage_svc.store import Store

_PART_BYTES = 1 << 20


@dataclass(kw_only=True, eq=False)
class ReportService(rpc.ReportServiceServicer):
    """A report is its owner's, in the role they asked in, and a consumer's with whom it was shared."""

    database: Database[Store]
    files: FileStore
    pseudonyms: Pseudonyms
    keep: timedelta
    clock: Clock = utc_now

    async def CreateReport(self, request: pb.CreateReportRequest, context: Context) -> pb.Report:
        owner_id, now = current_user_id(), self.clock()
        role = acting_role(current_caller(), request.role)
        first_day, last_day = check_request(request, role, now.date())
        async with self.database.change() as change:
            if known := await change.replay(request, pb.Report):
                return known
            store = ReportStore(change.connection)
            await store.lock_owner(owner_id=owner_id)
            counted = await store.count_reports(owner_id=owner_id)
            if counted.unfinished >= MAX_UNFINISHED or counted.kept >= MAX_KEPT:
                raise ResourceExhaustedError(
                    "too_many_reports", "Wait until reports are made, or delete some that you don't need."
                )
            if request.project_id:
                await require_right(
                    change.connection, UUID(request.project_id), owner_id, ProjectRight.SEE_USAGE
                )
            report = await store.add_report(
                report_id=uuid7(),
                owner_id=owner_id,
                role=role,
                first_day=first_day,
                last_day=last_day,
                service_id=UUID(request.service_id) if request.service_id else None,
                consumer=request.consumer,
                consumer_id=await find_consumer(store, self.pseudonyms, role, owner_id, request.consumer),
                project_id=UUID(request.project_id) if request.project_id else None,
                format=request.format,
                detail=request.detail,
                created_at=now,
                # Until it is made: then it is kept from that moment on.
                expires_at=now + self.keep,
            )
            await store.announce_reports()
            change.audit("report", report.report_id, first_day=request.first_day, last_day=request.last_day)
            message = report_message(report, owner_id)
            await change.remember(request, message)
        return message

    async def ListReports(self, request: pb.ListReportsRequest, context: Context) -> pb.ListReportsResponse:
        reader_id = current_user_id()
        role = acting_role(current_caller(), request.role)
        async with self.database.read() as opened:
            page = await ReportStore(opened.connection).list_reports(
                page_request(request), **_reader(reader_id, [role])
            )
        return pb.ListReportsResponse(
            reports=[report_message(report, reader_id) for report in page.rows],
            next_page_token=page.next_token,
        )

    async def GetReport(self, request: pb.GetReportRequest, context: Context) -> pb.Report:
        return report_message(await self._find(request.report_id), current_user_id())

    async def ReadReport(self, request: pb.ReadReportRequest, context: Context) -> pb.ReadReportResponse:
        report = await self._find(request.report_id)
        _check_ready(report)
        try:
            content = await asyncio.to_thread(
                self.files.read, report.stored_as(report.attempt), request.offset, _PART_BYTES
            )
        except FileNotFoundError:
            # It was deleted between the two looks.
            raise _not_found() from None
        return pb.ReadReportResponse(content=content, size_bytes=report.size_bytes)

    async def ShareReport(self, request: pb.ShareReportRequest, context: Context) -> pb.Report:
        owner_id, now = current_user_id(), self.clock()
        async with self.database.change() as change:
            store = ReportStore(change.connection)
            report = await store.lock_own_report(
                report_id=UUID(request.report_id), owner_id=owner_id, roles=[MERCHANT]
            )
            if report is None:
                raise _not_found()
            if report.consumer_id is None:
                raise FailedPreconditionError(
                    "report_of_several", "Only a report about one consumer can be shared."
                )
            _check_ready(report)
            change.audit("report", report.report_id, consumer=report.consumer)
            if report.shared_at is None:
                report = await store.share_report(report_id=report.report_id, shared_at=now)
                name = await store.find_merchant_name(merchant_id=owner_id) or "A merchant"
                change.publish(topics.NOTIFICATIONS, str(report.consumer_id), _shared(report, name, now))
        return report_message(report, owner_id)

    async def DeleteReport(
        self, request: pb.DeleteReportRequest, context: Context
    ) -> pb.DeleteReportResponse:
        async with self.database.change() as change:
            store = ReportStore(change.connection)
            report = await store.lock_own_report(
                report_id=UUID(request.report_id),
                owner_id=current_user_id(),
                roles=list(current_caller().roles),
            )
            if report is None:
                raise _not_found()
            await store.delete_report(report_id=report.report_id, deleted_at=self.clock())
            change.audit("report", report.report_id)
        return pb.DeleteReportResponse()

    async def _find(self, report_id: str) -> Report:
        """A report that the caller may see. Raises NotFoundError."""
        async with self.database.read() as opened:
            report = await ReportStore(opened.connection).find_report(
                report_id=UUID(report_id), **_reader(current_user_id(), current_caller().roles)
            )
        if report is None:
            raise _not_found()
        return report


async def find_consumer(
    store: ReportStore, pseudonyms: Pseudonyms, role: Role.ValueType, owner_id: UUID, consumer: str
) -> UUID | None:
    """Whom `consumer` means to the asker; None: nobody in particular. Raises NotFoundError for a pseudonym of
    none of the merchant's consumers."""
    if not consumer or role == ADMIN:
        return UUID(consumer) if consumer else None
    consumer_ids = await store.consumers_of_merchant(merchant_id=owner_id)
    found = await asyncio.to_thread(pseudonyms.find_consumers, [consumer], owner_id, consumer_ids)
    if not found:
        raise NotFoundError("consumer_not_found", "None of your consumers is called that.")
    return found[0]


def report_message(report: Report, reader_id: UUID) -> pb.Report:
    """The report as its owner sees it, or the consumer with whom it was shared."""
    is_own = report.owner_id == reader_id
    return pb.Report(
        report_id=str(report.report_id),
        first_day=report.first_day.isoformat(),
        last_day=report.last_day.isoformat(),
        service_id=str(report.service_id or ""),
        consumer=report.consumer,
        project_id=str(report.project_id or ""),
        format=report.format,
        detail=report.detail,
        status=report.status,
        progress_percent=report.progress_percent,
        size_bytes=report.size_bytes,
        rows=report.rows,
        error=report.error,
        created_at=to_timestamp(report.created_at),
        finished_at=to_timestamp(report.finished_at),
        expires_at=to_timestamp(report.expires_at),
        shared_at=to_timestamp(report.shared_at),
        file_name=report.file_name,
        is_own=is_own,
        role=report.role,
    )


def _reader(reader_id: UUID, roles: Iterable[Role.ValueType]) -> dict[str, object]:
    held = list(roles)
    return {"reader_id": reader_id, "roles": held, "is_consumer": CONSUMER in held}


def _check_ready(report: Report) -> None:
    if report.status != pb.READY:
        raise FailedPreconditionError("report_not_ready", "The report is not made yet.")


def _not_found() -> NotFoundError:
    return NotFoundError("report_not_found", "There is no such report.")


def _shared(report: Report, merchant_name: str, now: datetime) -> Notification:
    return Notification(
        notification_id=f"report-shared/{report.report_id}",
        user_id=str(report.consumer_id),
        occurred_at=to_timestamp(now),
        report_shared=ReportShared(
            report_id=str(report.report_id),
            merchant_name=merchant_name,
            first_day=report.first_day.isoformat(),
            last_day=report.last_day.isoformat(),
        ),
    )
