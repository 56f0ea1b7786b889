"""The one way in which a service changes its state.

Rule, row, audit record, events and snapshots are committed together or not at all.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.clock import Clock
from ams_common.database import Change, Database
from ams_common.field_changes import field_change
from ams_common.ids import uuid7
from ams_common.outbox import Deliveries

from catalog_svc import lifecycle, prices, revisions
from catalog_svc.messages import changes_of
from catalog_svc.notices import tell_moved
from catalog_svc.publishing import publish_price, publish_service, write_snapshot
from catalog_svc.records import ServiceRecord
from catalog_svc.rpc.locked_services import answer
from catalog_svc.store import Store

Lock = Callable[[Change[Store], str, datetime, str], Awaitable[ServiceRecord]]


class Moving(Protocol):
    """A request to move a service that has this etag; "": whichever it has."""

    service_id: str
    etag: str


@dataclass(kw_only=True, eq=False)
class Transitions:
    """A base of the servicers that move services."""

    database: Database[Store]
    clock: Clock
    deliveries: Deliveries

    async def move(self, request: Moving, action: str, lock: Lock, **details: str) -> pb.Service:
        """Takes an action of lifecycle.TRANSITIONS; `lock` loads the service for whoever may. `details` go
        into the audit log, and the `reason` among them onto the service. Raises what `lock` and the rule do.
        """
        now = self.clock()
        async with self.database.change() as change:
            before = await lock(change, request.service_id, now, request.etag)
            record = lifecycle.transition(before, action, now, details.get("reason", ""))
            version = None
            if record.status == lifecycle.ACTIVE and before.price_version_id is None:
                version = prices.first_version(record, uuid7(), now)
                await change.store.insert_price_version(version)
                record = replace(record, price_version_id=version.price_version_id)
            if record.status in (lifecycle.DRAFT, lifecycle.RETIRED):
                await _withdraw_revision(change, before, now)
            await change.store.save_service(record)
            changes = [field_change("status", before.status, record.status)]
            change.audit("service", record.service_id, changes, **details)
            publish_service(change, record)
            tell_moved(change, record, action, details.get("reason", ""), now)
            if version is not None:
                publish_price(change, version, now)
            await write_snapshot(change, record.service_id, now)
            service = await answer(change.store, record)
        if before.status == lifecycle.ACTIVE:
            await self.deliveries.tell(service, change)
        return service


async def _withdraw_revision(change: Change[Store], before: ServiceRecord, now: datetime) -> None:
    """What was to be changed in the marketplace has nothing left to change."""
    revision = await change.store.find_open_revision(service_id=before.service_id)
    if revision is not None:
        differing = changes_of(before, revision)
        await change.store.save_revision(revisions.decided(revision, revisions.WITHDRAWN, differing, now))
