"""Reports: what one covers, who may ask for it, and in which steps it is made. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, Role
from ams.usage.v1 import report_service_pb2 as pb
from ams_common import formats
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.pseudonyms import is_pseudonym

MAX_DAYS = 400
MAX_UNFINISHED = 20
MAX_KEPT = 500
# What isn't made after so many attempts would never be: it takes its maker down with it.
MAX_ATTEMPTS = 3
# Who has waited so long has gone on to something else, and is told by mail.
TELLS_AFTER = timedelta(seconds=30)
_ENDINGS = {pb.CSV: "csv", pb.JSON_LINES: "jsonl", pb.PARQUET: "parquet", pb.PDF: "pdf"}


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it is stored."""

    report_id: UUID
    owner_id: UUID
    role: Role.ValueType
    first_day: date
    last_day: date
    service_id: UUID | None
    consumer: str
    consumer_id: UUID | None
    project_id: UUID | None
    format: pb.ReportFormat.ValueType
    detail: pb.ReportDetail.ValueType
    status: pb.ReportStatus.ValueType
    progress_percent: int
    size_bytes: int
    rows: int
    error: str
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime
    shared_at: datetime | None
    attempt: int

    @property
    def file_name(self) -> str:
        """What a browser keeps it as."""
        return f"usage-{self.first_day}-{self.last_day}.{_ENDINGS[self.format]}"

    def stored_as(self, attempt: int) -> str:
        """The name of the file that an attempt makes."""
        return f"{self.report_id}-{attempt}.{_ENDINGS[self.format]}"

    def stretches(self) -> list[tuple[datetime, datetime]]:
        """The pieces of time that are read one after the other: hours of single calls, else days."""
        step = timedelta(hours=1) if self.detail == pb.CALLS else timedelta(days=1)
        return list(_steps(_midnight(self.first_day), _midnight(self.last_day + timedelta(days=1)), step))


def check_request(request: pb.CreateReportRequest, role: Role.ValueType, today: date) -> tuple[date, date]:
    """The first and last day of a report that can be made. Raises InvalidArgumentError."""
    first_day, last_day = date.fromisoformat(request.first_day), date.fromisoformat(request.last_day)
    if first_day > last_day:
        raise _invalid("range_invalid", "lastDay", "must not be before the first day")
    if (last_day - first_day).days >= MAX_DAYS:
        raise _invalid("range_too_large", "lastDay", f"must be at most {MAX_DAYS} days from the first day")
    if first_day > today:
        raise _invalid("range_invalid", "firstDay", "must not be in the future")
    if request.format == pb.PDF and request.detail == pb.CALLS:
        raise _invalid("format_not_offered", "format", "must not be PDF for single calls")
    check_consumer_filter(request.consumer, role)
    if request.project_id and role != CONSUMER:
        raise _invalid("filter_not_offered", "projectId", "is not a filter in this role")
    return first_day, last_day


def check_consumer_filter(consumer: str, role: Role.ValueType) -> None:
    """A merchant names consumers by pseudonym, an admin by id, and a consumer asks about no other.

    Raises InvalidArgumentError filter_not_offered, invalid_argument.
    """
    if not consumer:
        return
    if role == CONSUMER:
        raise _invalid("filter_not_offered", "consumer", "is not a filter in this role")
    if role == ADMIN and not formats.UUID.fullmatch(consumer):
        raise _invalid("consumer_invalid", "consumer", "must be a lower-case UUID")
    if role != ADMIN and not is_pseudonym(consumer):
        raise _invalid("consumer_invalid", "consumer", "must be a pseudonym such as cst_… of yours")


def tells_owner(created_at: datetime, now: datetime) -> bool:
    """Whether the owner gets a mail that the report is ready."""
    return now - created_at >= TELLS_AFTER


def _steps(start: datetime, end: datetime, step: timedelta) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        yield start, start + step
        start += step


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _invalid(code: str, field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(code, f"{field} {description}.", [FieldViolation(field, description)])
