"""The RPCs about revisions: what waits, and what is decided about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ams.catalog.v1 import revision_service_pb2 as pb
from ams.catalog.v1 import revision_service_pb2_grpc as rpc
from ams.catalog.v1.revision_pb2 import ServiceRevision
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clock import Clock
from ams_common.context import current_caller, current_user_id
from ams_common.database import Change, Database
from ams_common.errors import FailedPreconditionError
from ams_common.interceptors import Context
from ams_common.paging import page_request

from catalog_svc import lifecycle, revisions
from catalog_svc.messages import changes_of, revision_message, service_message
from catalog_svc.publishing import publish_service, write_snapshot
from catalog_svc.records import ServiceRecord, found
from catalog_svc.revisions import Revision
from catalog_svc.rpc.locked_services import lock_any, lock_own
from catalog_svc.store import Store
from catalog_svc.upstreams import check_base_url


@dataclass(kw_only=True, eq=False)
class RevisionService(rpc.RevisionServiceServicer):
    database: Database[Store]
    clock: Clock
    allow_private_upstreams: bool

    async def GetRevision(self, request: pb.GetRevisionRequest, context: Context) -> pb.GetRevisionResponse:
        async with self.database.read() as store:
            record = await self._find_service(store, request.service_id)
            revision = await store.find_revision(
                service_id=record.service_id, revision_id=UUID(request.revision_id)
            )
        if revision is None:
            raise revisions.revision_not_found()
        proposed = revisions.proposed(record, revision, revision.updated_at)
        return pb.GetRevisionResponse(
            revision=revision_message(record, revision), proposed=service_message(proposed)
        )

    async def ListServiceRevisions(
        self, request: pb.ListServiceRevisionsRequest, context: Context
    ) -> pb.ListServiceRevisionsResponse:
        async with self.database.read() as store:
            record = await self._find_service(store, request.service_id)
            page = await store.list_service_revisions(page_request(request), service_id=record.service_id)
        return pb.ListServiceRevisionsResponse(
            revisions=[revision_message(record, revision) for revision in page.rows],
            next_page_token=page.next_token,
        )

    async def ListPendingRevisions(
        self, request: pb.ListPendingRevisionsRequest, context: Context
    ) -> pb.ListPendingRevisionsResponse:
        async with self.database.read() as store:
            page = await store.list_pending_revisions(page_request(request))
            records = await self._services_of(store, page.rows)
        return pb.ListPendingRevisionsResponse(
            revisions=[revision_message(records[each.service_id], each) for each in page.rows],
            next_page_token=page.next_token,
        )

    async def ApproveRevision(self, request: pb.ApproveRevisionRequest, context: Context) -> ServiceRevision:
        now = self.clock()
        async with self.database.change() as change:
            before = await lock_any(change, request.service_id, now)
            revision = await _lock_open(change, before, request.revision_id, request.version)
            record = revisions.proposed(before, revision, now)
            if "base_url" in revision.fields:
                # What may be called may have changed since it was asked for.
                check_base_url(record.base_url, allow_private=self.allow_private_upstreams)
            lifecycle.check_reachable(record)
            approved = revisions.decided(
                revision, revisions.APPROVED, changes_of(before, revision), now, request.reason
            )
            await change.store.save_service(record)
            await change.store.save_revision(approved)
            _audit(change, approved)
            if record.name != before.name:
                publish_service(change, record)
            await write_snapshot(change, record.service_id, now)
        return revision_message(record, approved)

    async def RejectRevision(self, request: pb.RejectRevisionRequest, context: Context) -> ServiceRevision:
        now = self.clock()
        async with self.database.change() as change:
            record = await lock_any(change, request.service_id, now)
            revision = await _lock_open(change, record, request.revision_id, request.version)
            rejected = revisions.decided(
                revision, revisions.REJECTED, changes_of(record, revision), now, request.reason
            )
            await change.store.save_revision(rejected)
            _audit(change, rejected)
        return revision_message(record, rejected)

    async def WithdrawRevision(
        self, request: pb.WithdrawRevisionRequest, context: Context
    ) -> ServiceRevision:
        now = self.clock()
        async with self.database.change() as change:
            record = await lock_own(change, request.service_id, now)
            revision = revisions.check_open(
                await change.store.find_revision(
                    service_id=record.service_id, revision_id=UUID(request.revision_id)
                )
            )
            withdrawn = revisions.decided(revision, revisions.WITHDRAWN, changes_of(record, revision), now)
            await change.store.save_revision(withdrawn)
            _audit(change, withdrawn)
        return revision_message(record, withdrawn)

    async def _find_service(self, store: Store, service_id: str) -> ServiceRecord:
        """The caller's own, or any for an admin."""
        owner_id = None if ADMIN in current_caller().roles else current_user_id()
        return found(
            await store.find_service(service_id=UUID(service_id), owner_id=owner_id, now=self.clock())
        )

    async def _services_of(self, store: Store, waiting: Sequence[Revision]) -> dict[UUID, ServiceRecord]:
        service_ids = [revision.service_id for revision in waiting]
        records = await store.find_services(service_ids=service_ids, now=self.clock())
        return {record.service_id: record for record in records}


async def _lock_open(
    change: Change[Store], record: ServiceRecord, revision_id: str, version: int
) -> Revision:
    """The revision of a service that is held, to be decided. Raises NotFoundError, or FailedPreconditionError
    revision_not_pending, revision_changed or service_not_active."""
    revision = revisions.check_open(
        await change.store.find_revision(service_id=record.service_id, revision_id=UUID(revision_id))
    )
    revisions.check_version(revision, version)
    if record.status != lifecycle.ACTIVE:
        raise FailedPreconditionError(
            "service_not_active", "Its service is suspended: reinstate it before you decide about changes."
        )
    return revision


def _audit(change: Change[Store], revision: Revision) -> None:
    # Only what is approved has changed anything.
    changes = revision.changes if revision.status == revisions.APPROVED else None
    fields = ",".join(sorted(revision.fields))
    change.audit(
        "service",
        revision.service_id,
        changes or (),
        revision=str(revision.number),
        fields=fields,
        reason=revision.reason,
    )
