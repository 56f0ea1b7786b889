"""The RPCs about the prices of a service that has one in force: those to come, and those there were."""

from dataclasses import dataclass, replace
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.pricing_pb2 import PriceVersion as PriceVersionMessage
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.context import current_caller
from ams_common.database import Change
from ams_common.etags import check_etag
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from catalog_svc import prices
from catalog_svc.messages import price_version_message
from catalog_svc.publishing import publish_price, write_snapshot
from catalog_svc.records import PriceVersion, found
from catalog_svc.rpc.locked_services import lock_own
from catalog_svc.rpc.visibility import Visibility
from catalog_svc.store import Store


@dataclass(kw_only=True, eq=False)
class PriceRpcs(Visibility):
    async def SchedulePrice(self, request: pb.SchedulePriceRequest, context: Context) -> PriceVersionMessage:
        service_id = UUID(request.service_id)
        async with self.database.change() as change:
            if (done := await change.replay(request, PriceVersionMessage)) is not None:
                return done
            record = await lock_own(change, request.service_id, self.clock())
            await _check_etag(change.store, service_id, request.etag)
            # The time is looked at with the service held: what waited over midnight is too late.
            now = self.clock()
            price = prices.price_of(request.price, record.type)
            starts_at = prices.start_of(request.starts_on, now)
            announced = await change.store.list_announced_prices(service_id=service_id, now=now)
            before, version = prices.schedule(record, announced, price, starts_at, uuid7(), now)
            if before is not None:
                await _cancel(change, replace(before, canceled_at=now))
            await change.store.insert_price_version(version)
            publish_price(change, version, now)
            await write_snapshot(change, service_id, now)
            change.audit("service", service_id, starts_on=request.starts_on)
            answer = price_version_message(version)
            await change.remember(request, answer)
        return answer

    async def CancelPrice(self, request: pb.CancelPriceRequest, context: Context) -> PriceVersionMessage:
        service_id, price_version_id = UUID(request.service_id), UUID(request.price_version_id)
        async with self.database.change() as change:
            await lock_own(change, request.service_id, self.clock())
            await _check_etag(change.store, service_id, request.etag)
            now = self.clock()
            version = await change.store.find_price_version(
                service_id=service_id, price_version_id=price_version_id
            )
            canceled = replace(prices.check_cancelable(version, now), canceled_at=now)
            await _cancel(change, canceled)
            await write_snapshot(change, service_id, now)
            change.audit("service", service_id, price_version_id=str(price_version_id))
        return price_version_message(canceled)

    async def ListPrices(self, request: pb.ListPricesRequest, context: Context) -> pb.ListPricesResponse:
        caller, service_id = current_caller(), UUID(request.service_id)
        async with self.database.read() as store:
            record = found(await store.find_service(service_id=service_id, owner_id=None, now=self.clock()))
        if ADMIN not in caller.roles and record.merchant_id != caller.user_id:
            await self.find_visible(request.service_id)
        async with self.database.read() as store:
            return await _listed(store, service_id)


async def _listed(store: Store, service_id: UUID) -> pb.ListPricesResponse:
    versions = await store.list_price_versions(service_id=service_id, limit=prices.MAX_LISTED)
    return pb.ListPricesResponse(prices=map(price_version_message, versions))


async def _check_etag(store: Store, service_id: UUID, etag: str) -> None:
    """Raises AbortedError etag_mismatch; the service is held."""
    if etag:
        check_etag(etag, await _listed(store, service_id))


async def _cancel(change: Change[Store], version: PriceVersion) -> None:
    assert version.canceled_at is not None, "the caller says when"
    await change.store.cancel_price_version(
        price_version_id=version.price_version_id, canceled_at=version.canceled_at
    )
    publish_price(change, version, version.canceled_at)
