"""The RPCs that only read: one service, the lists, the marketplace, the gateway's snapshot."""

from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import NotFoundError
from ams_common.interceptors import Context
from ams_common.paging import Page, page_request, patterns_of
from asyncpg import Connection

from catalog_svc.lifecycle import ACTIVE
from catalog_svc.messages import (
    marketplace_message,
    service_message,
    snapshot_message,
    status_word,
    type_word,
)
from catalog_svc.records import ServiceRecord
from catalog_svc.search import words_of
from catalog_svc.slugs import service_id_in
from catalog_svc.store import MarketplaceFilter, Store


class CatalogReads(rpc.CatalogServiceServicer):
    """What changes nothing."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    async def GetService(self, request: pb.GetServiceRequest, context: Context) -> pb.Service:
        owner_id = None if ADMIN in current_caller().roles else current_user_id()
        async with self._database.read() as connection:
            record = await self._store.find_service(connection, UUID(request.service_id), owner_id)
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

    async def ListMarketplaceServices(
        self, request: pb.ListMarketplaceServicesRequest, context: Context
    ) -> pb.ListMarketplaceServicesResponse:
        those = MarketplaceFilter(
            words=words_of(request.query) if request.query else None,
            tags=[request.tag] if request.tag else [],
            service_type=type_word(request.type),
            merchant_id=UUID(request.merchant_id) if request.merchant_id else None,
        )
        async with self._database.read() as connection:
            page = await self._store.list_marketplace(connection, page_request(request), those)
        return pb.ListMarketplaceServicesResponse(
            services=map(marketplace_message, page.rows), next_page_token=page.next_token
        )

    async def GetMarketplaceService(
        self, request: pb.GetMarketplaceServiceRequest, context: Context
    ) -> pb.MarketplaceService:
        async with self._database.read() as connection:
            record = await self._find_by_any_name(connection, request.service)
        if record is None or (record.status, record.merchant_standing) != (ACTIVE, "active"):
            raise not_found()
        return marketplace_message(record)

    async def GetServiceSnapshot(
        self, request: pb.GetServiceSnapshotRequest, context: Context
    ) -> ServiceSnapshot:
        async with self._database.read() as connection:
            record = await self._find_by_any_name(connection, request.service)
        return snapshot_message(found(record))

    async def _list(
        self, request: pb.ListServicesRequest | pb.ListMerchantServicesRequest, merchant_id: UUID | None
    ) -> Page[ServiceRecord]:
        async with self._database.read() as connection:
            return await self._store.list_services(
                connection,
                page_request(request),
                status=status_word(request.status),
                merchant_id=merchant_id,
                patterns=patterns_of(request.query),
            )

    async def _find_by_any_name(self, connection: Connection, service: str) -> ServiceRecord | None:
        service_id = service_id_in(service)
        if service_id is not None:
            return await self._store.find_service(connection, service_id)
        return await self._store.find_service_by_slug(connection, service)


def found(record: ServiceRecord | None) -> ServiceRecord:
    """The record. Raises NotFoundError for none."""
    if record is None:
        raise not_found()
    return record


def not_found() -> NotFoundError:
    """The same for what isn't there, isn't yours, and isn't public."""
    return NotFoundError("service_not_found", "There is no such service.")
