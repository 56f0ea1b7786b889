"""The RPCs that only read: one service, the lists, the marketplace, the gateway's snapshot."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams.catalog.v1.events_pb2 import ServiceSnapshot, ServiceStatus
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import NotFoundError
from ams_common.interceptors import Context
from ams_common.paging import decode_page_token, encode_page_token, page_limit, split_page
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
from catalog_svc.store import MarketplaceFilter, Page, Store


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
        shown, token = await self._list(request.page_size, request.page_token, request.status, merchant_id)
        return pb.ListServicesResponse(services=map(service_message, shown), next_page_token=token)

    async def ListMerchantServices(
        self, request: pb.ListMerchantServicesRequest, context: Context
    ) -> pb.ListMerchantServicesResponse:
        shown, token = await self._list(
            request.page_size, request.page_token, request.status, current_user_id()
        )
        return pb.ListMerchantServicesResponse(services=map(service_message, shown), next_page_token=token)

    async def ListMarketplaceServices(
        self, request: pb.ListMarketplaceServicesRequest, context: Context
    ) -> pb.ListMarketplaceServicesResponse:
        wanted = MarketplaceFilter(
            words=words_of(request.query) if request.query else None,
            tags=[request.tag] if request.tag else [],
            service_type=type_word(request.type),
            merchant_id=UUID(request.merchant_id) if request.merchant_id else None,
        )
        page = _page(request.page_size, request.page_token)
        async with self._database.read() as connection:
            records = await self._store.list_marketplace(connection, page, wanted)
        shown, last = split_page(records, request.page_size)
        token = _token(last, last.published_at if last is not None else None)
        return pb.ListMarketplaceServicesResponse(
            services=map(marketplace_message, shown), next_page_token=token
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
        self,
        page_size: int,
        page_token: str,
        status: ServiceStatus.ValueType,
        merchant_id: UUID | None,
    ) -> tuple[Sequence[ServiceRecord], str]:
        page = _page(page_size, page_token)
        async with self._database.read() as connection:
            records = await self._store.list_services(connection, page, status_word(status), merchant_id)
        shown, last = split_page(records, page_size)
        return shown, _token(last, last.created_at if last is not None else None)

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


def _page(page_size: int, page_token: str) -> Page:
    after, after_id = decode_page_token(page_token)
    return Page(limit=page_limit(page_size), after=after, after_id=after_id)


def _token(last: ServiceRecord | None, moment: datetime | None) -> str:
    return encode_page_token(moment, last.service_id) if last is not None and moment is not None else ""
