"""The RPCs of CatalogService: those that change a service stand here, the others in service_reads.

Each change holds the service (and its merchant) in one transaction: rule, row, audit record, events
and snapshots are committed together or not at all.
"""

from datetime import datetime
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import AlreadyExistsError
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from catalog_svc import lifecycle
from catalog_svc.consumers import write_snapshot
from catalog_svc.edits import apply_edit, masked_fields, unique_tags
from catalog_svc.messages import price_started_event, service_changed_event, service_message, type_word
from catalog_svc.prices import terms_of
from catalog_svc.records import ServiceRecord
from catalog_svc.service_reads import CatalogReads, found
from catalog_svc.slugs import slug_candidates
from catalog_svc.store import Store
from catalog_svc.upstreams import check_base_url


class CatalogServicer(CatalogReads):
    """All of CatalogService."""

    def __init__(self, database: Database, store: Store, *, allow_private_upstreams: bool) -> None:
        super().__init__(database, store)
        self._allow_private_upstreams = allow_private_upstreams

    async def CreateService(self, request: pb.CreateServiceRequest, context: Context) -> pb.Service:
        draft = _draft(request, current_user_id(), utc_now())
        lifecycle.check_reachable(draft.type, draft.base_url)
        check_base_url(draft.base_url, allow_private=self._allow_private_upstreams)
        async with self._database.change() as change:
            if (done := await change.replay(request, pb.Service)) is not None:
                return done
            record = await self._insert(change, draft)
            change.audit("service", record.service_id, name=record.name)
            _announce(change, record)
            answer = service_message(record)
            await change.remember(request, answer)
        return answer

    async def UpdateService(self, request: pb.UpdateServiceRequest, context: Context) -> pb.Service:
        fields = masked_fields(request)
        if "base_url" in fields:
            check_base_url(request.base_url, allow_private=self._allow_private_upstreams)
        async with self._database.change() as change:
            before = await self._hold(change, request.service_id, current_user_id())
            lifecycle.check_changeable(before, fields)
            record = apply_edit(before, request, fields, utc_now())
            if "base_url" in fields:
                lifecycle.check_reachable(record.type, record.base_url)
            await self._store.save_service(change.connection, record)
            change.audit("service", record.service_id, fields=",".join(sorted(fields)))
            if record.name != before.name:
                _announce(change, record)
            if record.status == lifecycle.ACTIVE:
                write_snapshot(change, record)
        return service_message(record)

    async def SubmitService(self, request: pb.SubmitServiceRequest, context: Context) -> pb.Service:
        async with self._database.change() as change:
            before = await self._hold(change, request.service_id, current_user_id())
            record = lifecycle.submit(before, utc_now())
            await self._store.save_service(change.connection, record)
            change.audit("service", record.service_id)
            _announce(change, record)
        return service_message(record)

    async def ApproveService(self, request: pb.ApproveServiceRequest, context: Context) -> pb.Service:
        now, price_version_id = utc_now(), uuid7()
        async with self._database.change() as change:
            before = await self._hold(change, request.service_id, None)
            record = lifecycle.approve(before, price_version_id, now)
            await self._store.insert_price_version(change.connection, record, price_version_id, now)
            await self._store.save_service(change.connection, record)
            change.audit("service", record.service_id, reason=request.reason)
            _announce(change, record)
            started = price_started_event(record.service_id, price_version_id, record.price, now)
            change.publish(topics.CATALOG_EVENTS, str(record.service_id), started)
            write_snapshot(change, record)
        return service_message(record)

    async def RejectService(self, request: pb.RejectServiceRequest, context: Context) -> pb.Service:
        async with self._database.change() as change:
            before = await self._hold(change, request.service_id, None)
            record = lifecycle.reject(before, request.reason, utc_now())
            await self._store.save_service(change.connection, record)
            change.audit("service", record.service_id, reason=request.reason)
            _announce(change, record)
        return service_message(record)

    async def _hold(self, change: Change, service_id: str, owner_id: UUID | None) -> ServiceRecord:
        return found(await self._store.lock_service(change.connection, UUID(service_id), owner_id))

    async def _insert(self, change: Change, draft: ServiceRecord) -> ServiceRecord:
        merchant_name = await self._store.lock_merchant(change.connection, draft.merchant_id)
        slugs = slug_candidates(draft.name, draft.service_id)
        record = await self._store.insert_service(change.connection, draft, merchant_name, slugs)
        if record is None:
            raise AlreadyExistsError(
                "service_name_taken", "Too many services have this name. Choose another."
            )
        return record


def _draft(request: pb.CreateServiceRequest, merchant_id: UUID, now: datetime) -> ServiceRecord:
    service_type = type_word(request.type) or ""
    lifecycle.check_type(service_type)
    return ServiceRecord(
        service_id=uuid7(),
        merchant_id=merchant_id,
        merchant_name="",
        merchant_standing="unspecified",
        slug="",
        name=request.name,
        description=request.description,
        type=service_type,
        status=lifecycle.DRAFT,
        base_url=request.base_url,
        documentation_url=request.documentation_url,
        version=request.version,
        tags=unique_tags(request.tags),
        rate_limit_per_minute=request.rate_limit_per_minute,
        additional_info=request.additional_info,
        rejection_reason="",
        price=terms_of(request.price),
        price_version_id=None,
        created_at=now,
        updated_at=now,
        published_at=None,
    )


def _announce(change: Change, record: ServiceRecord) -> None:
    event = service_changed_event(record, record.updated_at)
    change.publish(topics.CATALOG_EVENTS, str(record.service_id), event)
