"""The RPCs about services: what their merchants, the admins and the gateway do with them.

Each change holds the service (and its merchant) in one transaction: rule, row, audit record, events
and snapshots are committed together or not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER
from ams_common.context import current_caller, current_user_id
from ams_common.errors import AlreadyExistsError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.outbox import write_again
from ams_common.paging import page_request, patterns_of
from ams_common.platform_settings import DEFAULTS

from catalog_svc import lifecycle
from catalog_svc.edits import unique_tags
from catalog_svc.forwarding import forwarding_of
from catalog_svc.messages import STANDINGS, service_message, status_word, type_word
from catalog_svc.metadata import metadata_of
from catalog_svc.prices import price_of
from catalog_svc.publishing import publish_service, redis_keys
from catalog_svc.records import ServiceRecord, found, service_not_found
from catalog_svc.rpc.locked_services import answer, lock_any, lock_own
from catalog_svc.rpc.transitions import Transitions
from catalog_svc.rpc.visibility import Visibility
from catalog_svc.slugs import slug_candidates
from catalog_svc.upstreams import check_base_url


@dataclass(kw_only=True, eq=False)
class ServiceRpcs(Transitions, Visibility):
    """`max_services` says how many services one merchant may have, by the platform's settings."""

    allow_private_upstreams: bool
    max_services: Callable[[], int] = lambda: DEFAULTS.max_services

    async def CreateService(self, request: pb.CreateServiceRequest, context: Context) -> pb.Service:
        draft = _draft(request, current_user_id(), self.clock())
        lifecycle.check_reachable(draft)
        check_base_url(draft.base_url, allow_private=self.allow_private_upstreams)
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.Service)) is not None:
                return done
            merchant = await change.store.lock_merchant(draft.merchant_id)
            lifecycle.check_merchant_acts(STANDINGS[merchant.standing])
            # Counted while nobody else makes one for the merchant: of two at once one would be too many.
            await change.store.lock_service_count(merchant_id=draft.merchant_id)
            count = await change.store.count_services(merchant_id=draft.merchant_id)
            lifecycle.check_service_count(count, self.max_services())
            slugs = slug_candidates(draft.name, draft.service_id)
            record = await change.store.insert_service(draft, merchant.display_name, slugs)
            if record is None:
                raise AlreadyExistsError(
                    "service_name_taken", "Too many services have this name. Choose another."
                )
            change.audit("service", record.service_id, name=record.name)
            publish_service(change, record)
            answer = service_message(record)
            await change.remember(request, answer)
        return answer

    async def SubmitService(self, request: pb.SubmitServiceRequest, context: Context) -> pb.Service:
        return await self.move(request, "submit", lock_own)

    async def ApproveService(self, request: pb.ApproveServiceRequest, context: Context) -> pb.Service:
        return await self.move(request, "approve", lock_any, reason=request.reason)

    async def RejectService(self, request: pb.RejectServiceRequest, context: Context) -> pb.Service:
        return await self.move(request, "reject", lock_any, reason=request.reason)

    async def GetService(self, request: pb.GetServiceRequest, context: Context) -> pb.Service:
        owner_id = None if ADMIN in current_caller().roles else current_user_id()
        async with self.database.read() as store:
            record = await store.find_service(
                service_id=UUID(request.service_id), owner_id=owner_id, now=self.clock()
            )
            return await answer(store, found(record))

    async def BatchGetServices(
        self, request: pb.BatchGetServicesRequest, context: Context
    ) -> pb.BatchGetServicesResponse:
        async with self.database.read() as store:
            records = await store.find_services(
                service_ids=list(map(UUID, request.service_ids)), now=self.clock()
            )
            revisions = await store.find_newest_revisions([record.service_id for record in records])
        return pb.BatchGetServicesResponse(
            services=[service_message(record, revisions.get(record.service_id)) for record in records]
        )

    async def ListServices(
        self, request: pb.ListServicesRequest, context: Context
    ) -> pb.ListServicesResponse:
        merchant_id = UUID(request.merchant_id) if request.merchant_id else None
        services, next_token = await self._list(request, merchant_id)
        return pb.ListServicesResponse(services=services, next_page_token=next_token)

    async def ListMerchantServices(
        self, request: pb.ListMerchantServicesRequest, context: Context
    ) -> pb.ListMerchantServicesResponse:
        services, next_token = await self._list(request, current_user_id())
        return pb.ListMerchantServicesResponse(services=services, next_page_token=next_token)

    async def _list(
        self, request: pb.ListServicesRequest | pb.ListMerchantServicesRequest, merchant_id: UUID | None
    ) -> tuple[list[pb.Service], str]:
        async with self.database.read() as store:
            page = await store.list_services(
                page_request(request),
                status=status_word(request.status),
                merchant_id=merchant_id,
                patterns=patterns_of(request.query),
                now=self.clock(),
            )
            revisions = await store.find_newest_revisions([record.service_id for record in page.rows])
        services = [service_message(record, revisions.get(record.service_id)) for record in page.rows]
        return services, page.next_token

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
            snapshot = snapshots[request.service]
            record = await store.find_service(
                service_id=UUID(snapshot.service_id), owner_id=None, now=self.clock()
            )
        if request.viewer_id and not await self.is_visible_to(found(record), UUID(request.viewer_id)):
            raise service_not_found()
        return snapshot

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
        suspension_reason="",
        price=price_of(request.price, service_type),
        price_version_id=None,
        next_price=None,
        created_at=now,
        updated_at=now,
        published_at=None,
        metadata=metadata_of(request, service_type),
        forwarding=forwarding_of(request.forwarding),
    )
