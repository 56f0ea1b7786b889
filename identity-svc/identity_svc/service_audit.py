"""The RPC that shows the audit log (PRD 5.3)."""

import json

import asyncpg
from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.paging import decode_page_token, encode_page_token, page_limit, split_page

from identity_svc.handlers import Context, Handlers


class AuditHandlers(Handlers):
    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        filters = {
            "actor": request.actor or None,
            "action": request.action or None,
            "resource_id": request.resource_id or None,
        }
        after, limit = decode_page_token(request.page_token), page_limit(request.page_size)
        async with self._database.read() as connection:
            rows = await self._system_store.list_audit_records(connection, after, limit, **filters)
        shown, last = split_page(rows, request.page_size)
        return pb.ListAuditRecordsResponse(
            audit_records=[_record_message(row) for row in shown],
            next_page_token=encode_page_token(last["occurred_at"], last["audit_id"]) if last else "",
        )


def _record_message(row: asyncpg.Record) -> AuditRecord:
    return AuditRecord(
        audit_id=str(row["audit_id"]),
        occurred_at=to_timestamp(row["occurred_at"]),
        actor=row["actor"],
        action=row["action"],
        resource=row["resource"],
        resource_id=row["resource_id"],
        details=json.loads(row["details"]),
        request_id=row["request_id"],
    )
