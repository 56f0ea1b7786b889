"""The RPCs about services: what their merchants, the admins and the gateway do with them.

Each change holds the service (and its merchant) in one transaction: rule, row, audit record, events
and snapshots are committed together or not at all.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER
from ams_common.clock import Clock
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import AlreadyExistsError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.outbox import write_again
from ams_common.paging import Page, page_request, patterns_of

from catalog_svc import lifecycle
from catalog_svc.edits import apply_edit, masked_fields, unique_tags
from catalog_svc.forwarding import forwarding_of
from catalog_svc.messages import service_message, status_word, type_word
from catalog_svc.prices import price_of
from catalog_svc.publishing import publish_price, publish_service, redis_keys, write_snapshot
from catalog_svc.records import PriceVersion, ServiceRecord, found, service_not_found
from catalog_svc.slugs import slug_candidates
from catalog_svc.store import Store
from catalog_svc.upstreams import check_base_url


@dataclass(kw_only=True, eq=False)
class ServiceRpcs:
    database: Database[Store]
    clock: Clock
    allow_private_upstreams: bool

    async def CreateService(self, request: pb.CreateServiceRequest, context: Context) -> pb.Service:
        draft = _draft(request, current_user_id(), self.clock())
        lifecycle.check_reachable(draft)
        check_base_url(draft.base_url, allow_private=self.allow_private_upstreams)
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.Service)) is not None:
                return done
            merchant_name = await change.store.lock_merchant(draft.merchant_id)
            slugs = slug_candidates(draft.name, draft.service_id)
            record = await change.store.insert_service(draft, merchant_name, slugs)
            if record is None:
                raise AlreadyExistsError(
                    "service_name_taken", "Too many services have this name. Choose another."
                )
            change.audit("service", record.service_id, name=record.name)
            publish_service(change, record)
            answer = service_message(record)
            await change.remember(request, answer)
        return answer

    async def UpdateService(self, request: pb.UpdateServiceRequest, context: Context) -> pb.Service:
        fields = masked_fields(request)
        if "base_url" in fields:
            check_base_url(request.base_url, allow_private=self.allow_private_upstreams)
        now = self.clock()
        async with self.database.change() as change:
            before = found(await change.store.lock_service(UUID(request.service_id), current_user_id(), now))
            lifecycle.check_changeable(before, fields)
            record = apply_edit(before, request, fields, now)
            lifecycle.check_reachable(record)
            await change.store.save_service(record)
            change.audit("service", record.service_id, fields=",".join(sorted(fields)))
            # Of what an edit may change, the other services know only the name.
            if record.name != before.name:
                publish_service(change, record)
            await write_snapshot(change, record.service_id, now)
        return service_message(record)

    async def SubmitService(self, request: pb.SubmitServiceRequest, context: Context) -> pb.Service:
        now = self.clock()
        async with self.database.change() as change:
            before = found(await change.store.lock_service(UUID(request.service_id), current_user_id(), now))
            record = lifecycle.submit(before, now)
            await change.store.save_service(record)
            change.audit("service", record.service_id)
            publish_service(change, record)
            await write_snapshot(change, record.service_id, now)
        return service_message(record)

    async def ApproveService(self, request: pb.ApproveServiceRequest, context: Context) -> pb.Service:
        now, price_version_id = self.clock(), uuid7()
        async with self.database.change() as change:
            before = found(await change.store.lock_service(UUID(request.service_id), None, now))
            record = lifecycle.approve(before, price_version_id, now)
            version = PriceVersion(
                price_version_id=price_version_id,
                service_id=record.service_id,
                price=record.price,
                starts_at=now,
                created_at=now,
            )
            await change.store.insert_price_version(version)
            await change.store.save_service(record)
            change.audit("service", record.service_id, reason=request.reason)
            publish_service(change, record)
            publish_price(change, version, now)
            await write_snapshot(change, record.service_id, now)
        return service_message(record)

    async def RejectService(self, request: pb.RejectServiceRequest, context: Context) -> pb.Service:
        now = self.clock()
        async with self.database.change() as change:
            before = found(await change.store.lock_service(UUID(request.service_id), None, now))
            record = lifecycle.reject(before, request.reason, now)
            await change.store.save_service(record)
            change.audit("service", record.service_id, reason=request.reason)
            publish_service(change, record)
            await write_snapshot(change, record.service_id, now)
        return service_message(record)

    async def GetService(self, request: pb.GetServiceRequest, context: Context) -> pb.Service:
        owner_id = None if ADMIN in current_caller().roles else current_user_id()
        async with self.database.read() as store:
            record = await store.find_service(
                service_id=UUID(request.service_id), owner_id=owner_id, now=self.clock()
            )
        return service_message(found(record))

    async def ListServices(
        self, request: pb.ListServicesRequest, context: Context
    ) -> pb.ListServicesResponse:
        merchant_id = UUID(request.merchant_id) if request.merchant_id else None
        page = await self._list(request, merchant_id)
        return pb.ListServicesResponse(
            services=map(service_message, page.rows), next_page_token=page.next_token
        )

    async def ListMerchantServices(
        self, request: pb.ListMerchantServicesRequest, context: Context
    ) -> pb.ListMerchantServicesResponse:
        page = await self._list(request, current_user_id())
        return pb.ListMerchantServicesResponse(
            services=map(service_message, page.rows), next_page_token=page.next_token
        )

    async def _list(
        self, request: pb.ListServicesRequest | pb.ListMerchantServicesRequest, merchant_id: UUID | None
    ) -> Page[ServiceRecord]:
        async with self.database.read() as store:
            return await store.list_services(
                page_request(request),
                status=status_word(request.status),
                merchant_id=merchant_id,
                patterns=patterns_of(request.query),
                now=self.clock(),
            )

    async def BatchGetServiceNames(
        self, request: pb.BatchGetServiceNamesRequest, context: Context
    ) -> pb.BatchGetServiceNamesResponse:
        caller = current_caller()
        async with self.database.read() as store:
            names = await store.find_service_names(
                service_ids=[UUID(service_id) for service_id in request.service_ids],
                is_for_all=caller.service is not None or ADMIN in caller.roles,
                merchant_id=caller.user_id,
                is_for_consumer=CONSUMER in caller.roles,
            )
        return pb.BatchGetServiceNamesResponse(services=names)

    async def GetServiceSnapshot(
        self, request: pb.GetServiceSnapshotRequest, context: Context
    ) -> ServiceSnapshot:
        async with self.database.read() as store:
            snapshots = await store.find_snapshots([request.service], self.clock())
        if request.service not in snapshots:
            raise service_not_found()
        return snapshots[request.service]

    async def CheckServiceSnapshots(
        self, request: pb.CheckServiceSnapshotsRequest, context: Context
    ) -> pb.CheckServiceSnapshotsResponse:
        held = {each.service: each.version for each in request.held}
        async with self.database.read() as store:
            snapshots = await store.find_snapshots(list(held), self.clock())
        # Who holds an old one had it from Redis, most likely, where it would mislead the next who looks.
        outdated = {
            redis_key: snapshot
            for name, snapshot in snapshots.items()
            if snapshot.version > held[name]
            for redis_key in redis_keys(snapshot)
        }
        await write_again(self.database, outdated)
        return pb.CheckServiceSnapshotsResponse(
            changed=[snapshot for name, snapshot in snapshots.items() if snapshot.version != held[name]],
            missing=[name for name in held if name not in snapshots],
        )


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
        price=price_of(request.price, service_type),
        price_version_id=None,
        next_price=None,
        created_at=now,
        updated_at=now,
        published_at=None,
        forwarding=forwarding_of(request.forwarding),
    )
