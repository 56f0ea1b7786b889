"""The RPCs about spend caps: a consumer sets them over one key, and over all its keys."""

from dataclasses import dataclass, replace
from uuid import UUID

from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.field_changes import field_change
from ams_common.interceptors import Context
from ams_common.project_rights import ProjectRight

from keys_svc.holders import lock_key
from keys_svc.messages import consumer_spend_cap_message, key_message
from keys_svc.publishing import write_key, write_keys_of
from keys_svc.spend_caps import SpendCap, cap_of, columns_of
from keys_svc.store import Store


@dataclass(kw_only=True, eq=False)
class SpendCapRpcs:
    database: Database[Store]

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
        return key_message(key, now, is_changeable=True)

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
        return consumer_spend_cap_message(consumer)


def _wanted(request: pb.SetKeySpendCapRequest | pb.SetSpendCapRequest) -> SpendCap | None:
    return cap_of(request.amount, "amount") if request.HasField("amount") else None


def _said(cap: SpendCap | None) -> str:
    return str(cap) if cap is not None else "none"
