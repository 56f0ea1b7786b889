"""Who sees a private service that is in the marketplace."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clock import Clock
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database

from catalog_svc.grants import Grants
from catalog_svc.messages import is_in_marketplace
from catalog_svc.metadata import PUBLIC
from catalog_svc.records import ServiceRecord, found, service_not_found
from catalog_svc.store import Store


@dataclass(kw_only=True, eq=False)
class Visibility:
    """A base of the servicers that show the marketplace."""

    database: Database[Store]
    clock: Clock
    grants: Grants

    async def find_visible(self, service: str) -> ServiceRecord:
        """A service of the marketplace by id or slug, for the caller. Raises NotFoundError service_not_found
        for one that it doesn't see."""
        caller = current_caller()
        async with self.database.read() as store:
            record = found(await store.find_service_by_id_or_slug(service, self.clock()))
        if not is_in_marketplace(record):
            raise service_not_found()
        if ADMIN in caller.roles or record.merchant_id == caller.user_id:
            return record
        if not await self.is_visible_to(record, caller.user_id):
            raise service_not_found()
        return record

    async def find_all_visible(self, service_ids: Sequence[UUID]) -> list[ServiceRecord]:
        """Those of many services that are in the marketplace for the caller. Raises UnavailableError and
        DeadlineExceededError."""
        user_id = current_user_id()
        async with self.database.read() as store:
            records = await store.find_services(service_ids=service_ids, now=self.clock())
            invited = await self.viewed_services(store)
        listed = [record for record in records if is_in_marketplace(record)]
        if ADMIN in current_caller().roles:
            return listed
        closed = {
            record.service_id
            for record in listed
            if record.metadata.visibility != PUBLIC and record.merchant_id != user_id
        }.difference(invited)
        # Nothing is held while another process is asked, and it isn't for what anybody sees.
        hidden = closed - await self.grants.granted_services(user_id) if closed else closed
        return [record for record in listed if record.service_id not in hidden]

    async def viewed_services(self, store: Store) -> Sequence[UUID]:
        """The private services that the caller finds: those it was invited to."""
        user_id = current_caller().user_id
        return await store.list_viewed_services(user_id=user_id) if user_id is not None else ()

    async def is_visible_to(self, record: ServiceRecord, user_id: UUID | None) -> bool:
        """Whether a consumer (None: somebody not signed in) sees the service: a private one by an invitation
        or by having access already. Raises UnavailableError and DeadlineExceededError."""
        if record.metadata.visibility == PUBLIC:
            return True
        if user_id is None:
            return False
        async with self.database.read() as store:
            invited = await store.list_viewed_services(user_id=user_id)
        # Nothing is held while another process is asked.
        return record.service_id in invited or record.service_id in await self.grants.granted_services(
            user_id
        )
