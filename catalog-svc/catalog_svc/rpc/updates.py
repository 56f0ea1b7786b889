"""UpdateService: of a service in the marketplace, what an admin is to look at becomes a revision."""

from dataclasses import dataclass, replace
from datetime import datetime

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.clock import Clock
from ams_common.database import Change, Database
from ams_common.field_changes import field_changes
from ams_common.interceptors import Context

from catalog_svc import lifecycle, revisions
from catalog_svc.differences import is_same
from catalog_svc.edits import apply_edit, masked_fields
from catalog_svc.messages import service_message
from catalog_svc.publishing import publish_service, write_snapshot
from catalog_svc.records import ServiceRecord
from catalog_svc.revisions import Revision
from catalog_svc.rpc.locked_services import answer, lock_own
from catalog_svc.rpc.open_revisions import revise
from catalog_svc.store import Store
from catalog_svc.upstreams import check_base_url


@dataclass(kw_only=True, eq=False)
class UpdateRpcs:
    database: Database[Store]
    clock: Clock
    allow_private_upstreams: bool

    async def UpdateService(self, request: pb.UpdateServiceRequest, context: Context) -> pb.Service:
        fields = masked_fields(request)
        if "base_url" in fields:
            check_base_url(request.base_url, allow_private=self.allow_private_upstreams)
        now = self.clock()
        async with self.database.change() as change:
            before = await lock_own(change, request.service_id, now, request.etag)
            lifecycle.check_changeable(before, fields)
            for_approval = lifecycle.fields_for_approval(before, fields)
            record = before
            if at_once := fields - for_approval:
                record = apply_edit(before, request, at_once, now)
                lifecycle.check_reachable(record)
                await change.store.save_service(record)
            open_revision = await change.store.find_open_revision(service_id=record.service_id)
            if for_approval:
                await _revise(change, record, open_revision, request, for_approval, now)
            changes = field_changes(service_message(before), service_message(record), only=fields)
            change.audit("service", record.service_id, changes, fields=",".join(sorted(fields)))
            # Of what changes at once, the other services know only the name.
            if record.name != before.name:
                publish_service(change, record)
            if at_once:
                await write_snapshot(change, record.service_id, now)
            return await answer(change.store, record)


async def _revise(
    change: Change[Store],
    record: ServiceRecord,
    revision: Revision | None,
    request: pb.UpdateServiceRequest,
    fields: frozenset[str],
    now: datetime,
) -> None:
    """Puts `fields` into the service's open revision; or out of it, as far as they are as they are now."""
    before = revisions.wanted_by(revision, record)
    content = revisions.merged(before.content, request, fields)
    after = apply_edit(record, content, content.update_mask.paths, now)
    lifecycle.check_reachable(after)
    lifecycle.check_complete(after)
    present, future = service_message(record), service_message(after)
    content = revisions.with_mask(
        content, [path for path in content.update_mask.paths if not is_same(present, future, path)]
    )
    await revise(change, record, revision, replace(before, content=content), now)
