"""The RPC that shows the audit log (PRD-5.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common import formats
from ams_common.database import Database
from ams_common.interceptors import Context
from ams_common.paging import page_request, patterns_of

from identity_svc.audit_log import AuditStore
from identity_svc.store import Store

_MOST_PEOPLE = 200


@dataclass(kw_only=True, eq=False, repr=False)
class AuditLogRpcs:
    database: Database[Store]

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        async with self.database.read() as opened:
            store = AuditStore(opened.connection)
            page = await store.list_records(
                page_request(request),
                actors=await _actors(store, request.actor),
                action=request.action or None,
                resource=request.resource or None,
                resource_id=request.resource_id or None,
                credential=request.credential or None,
                since=_midnight(request.first_day),
                before=_midnight(request.last_day, days_later=1),
            )
        return pb.ListAuditRecordsResponse(audit_records=page.rows, next_page_token=page.next_token)


async def _actors(store: AuditStore, wanted: str) -> Sequence[str] | None:
    """Who is meant, as records name them; None for anybody."""
    if not wanted:
        return None
    if formats.UUID.fullmatch(wanted):
        return [wanted]
    # "system", "service:keys-svc", or whomever the words fit.
    people = await store.find_people(words=wanted.split(), patterns=patterns_of(wanted), limit=_MOST_PEOPLE)
    return [wanted, *people]


def _midnight(day: str, days_later: int = 0) -> datetime | None:
    """When a day of UTC begins, or one after it; None for ""."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=days_later) if day else None
