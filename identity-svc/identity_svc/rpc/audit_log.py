"""The RPC that shows the audit log (PRD-5.3)."""

from dataclasses import dataclass

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.database import Database
from ams_common.interceptors import Context
from ams_common.paging import page_request

from identity_svc.store import Store


@dataclass(kw_only=True, eq=False, repr=False)
class AuditLogRpcs:
    database: Database[Store]

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        async with self.database.read() as store:
            page = await store.list_audit_records(
                page_request(request),
                actor=request.actor or None,
                action=request.action or None,
                resource_id=request.resource_id or None,
            )
        return pb.ListAuditRecordsResponse(audit_records=page.rows, next_page_token=page.next_token)
