"""The RPCs about spend caps: over a key, a project's keys, and all that a consumer pays for."""

from dataclasses import dataclass, replace
from uuid import UUID

from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.etags import check_etag
from ams_common.field_changes import field_change
from ams_common.interceptors import Context
from ams_common.outbox import Deliveries
from ams_common.project_rights import ProjectRight
from ams_common.projects import require_right

from keys_svc.holders import lock_holder, lock_key
from keys_svc.messages import consumer_spend_cap_message, key_message, project_spend_cap_message
from keys_svc.publishing import write_key, write_keys_of, write_keys_of_project
from keys_svc.spend_caps import SpendCap, cap_of, columns_of
from keys_svc.store import Store


@dataclass(kw_only=True, eq=False)
class SpendCapRpcs:
    database: Database[Store]
    deliveries: Deliveries

    async def SetKeySpendCap(self, request: pb.SetKeySpendCapRequest, context: Context) -> pb.Key:
        cap, key_id = _wanted(request), UUID(request.key_id)
        async with self.database.change() as change:
            consumer, key = await lock_key(
                change.store, request, current_user_id(), ProjectRight.SET_SPEND_CAP
            )
            now = utc_now()
            await change.store.set_key_spend_cap(key_id=key_id, **columns_of(cap))
            changes = [field_change("spend_cap", key.spend_cap, cap)]
            key = await write_key(change, consumer, key_id, now)
            change.audit("key", key_id, changes, key_prefix=key.key_prefix, spend_cap=_said(cap))
        return await self.deliveries.tell(key_message(key, now, is_changeable=True), change)

    async def GetProjectSpendCap(
        self, request: pb.GetProjectSpendCapRequest, context: Context
    ) -> pb.ProjectSpendCap:
        project_id = UUID(request.project_id)
        async with self.database.read() as store:
            await require_right(store.connection, project_id, current_user_id(), ProjectRight.SEE_SPEND)
            cap = await store.find_project_spend_cap(project_id=project_id)
        return project_spend_cap_message(project_id, cap)

    async def SetProjectSpendCap(
        self, request: pb.SetProjectSpendCapRequest, context: Context
    ) -> pb.ProjectSpendCap:
        cap, project_id = _wanted(request), UUID(request.project_id)
        async with self.database.change() as change:
            store = change.store
            holder = await lock_holder(store, current_user_id(), project_id, ProjectRight.SET_SPEND_CAP)
            before = await store.find_project_spend_cap(project_id=project_id)
            check_etag(request.etag, project_spend_cap_message(project_id, before))
            await store.set_project_spend_cap(project_id=project_id, **columns_of(cap))
            await write_keys_of_project(change, holder.consumer, project_id, utc_now())
            changes = [field_change("spend_cap", before, cap)]
            change.audit("project", project_id, changes, spend_cap=_said(cap))
        return await self.deliveries.tell(project_spend_cap_message(project_id, cap), change)

    async def GetSpendCap(self, request: pb.GetSpendCapRequest, context: Context) -> pb.ConsumerSpendCap:
        async with self.database.read() as store:
            return consumer_spend_cap_message(await store.find_consumer(current_user_id()))

    async def SetSpendCap(self, request: pb.SetSpendCapRequest, context: Context) -> pb.ConsumerSpendCap:
        cap, consumer_id = _wanted(request), current_user_id()
        async with self.database.change() as change:
            before = await change.store.lock_consumer(consumer_id)
            consumer = replace(before, spend_cap=cap)
            await change.store.set_spend_cap(consumer_id=consumer_id, **columns_of(cap))
            await write_keys_of(change, consumer, utc_now())
            changes = [field_change("spend_cap", before.spend_cap, cap)]
            change.audit("consumer", consumer_id, changes, spend_cap=_said(cap))
        return await self.deliveries.tell(consumer_spend_cap_message(consumer), change)


def _wanted(
    request: pb.SetKeySpendCapRequest | pb.SetProjectSpendCapRequest | pb.SetSpendCapRequest,
) -> SpendCap | None:
    return cap_of(request.amount, "amount") if request.HasField("amount") else None


def _said(cap: SpendCap | None) -> str:
    return str(cap) if cap is not None else "none"
