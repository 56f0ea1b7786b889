"""The RPC that shows the audit log (PRD 5.3)."""

import json
from collections.abc import Mapping
from typing import Any

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.paging import page_request

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
        async with self._database.read() as connection:
            page = await self._system_store.list_audit_records(connection, page_request(request), **filters)
        return pb.ListAuditRecordsResponse(
            audit_records=map(_record_message, page.rows), next_page_token=page.next_token
        )


def _record_message(row: Mapping[str, Any]) -> AuditRecord:
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
