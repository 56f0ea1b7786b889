"""The RPCs of KeySettingsService: what may be changed about a key after it was made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ams.keys.v1 import key_settings_service_pb2 as pb
from ams.keys.v1 import key_settings_service_pb2_grpc as rpc
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED
from ams.keys.v1.keys_service_pb2 import Key as KeyMessage
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common import apikeys
from ams_common.clock import utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Change, Database
from ams_common.field_changes import field_changes
from ams_common.interceptors import Context
from ams_common.outbox import Deliveries
from ams_common.project_rights import ProjectRight

from keys_svc import key_services, keys, secrets, standing
from keys_svc.consumers import Consumer
from keys_svc.holders import KeyRequest, lock_holder, lock_key
from keys_svc.key_activity import KeyActivities
from keys_svc.keys import Key
from keys_svc.messages import key_message
from keys_svc.publishing import write_key
from keys_svc.rpc.keys import require_usable
from keys_svc.store import Store


@dataclass(slots=True)
class _Changing:
    """A key that is being changed, and who pays for it, both locked."""

    change: Change[Store]
    consumer: Consumer
    key: Key
    now: datetime

    async def end(self, **details: str) -> KeyMessage:
        """Tells the gateways and the audit log; the key as it is from now on."""
        key = await write_key(self.change, self.consumer, self.key.key_id, self.now)
        before, after = (key_message(each, self.now, is_changeable=True) for each in (self.key, key))
        changes = field_changes(before, after)
        self.change.audit("key", key.key_id, changes, key_prefix=key.key_prefix, **details)
        return after


@dataclass(kw_only=True, eq=False)
class KeySettingsService(rpc.KeySettingsServiceServicer):
    database: Database[Store]
    activities: KeyActivities
    deliveries: Deliveries

    async def UpdateKey(self, request: pb.UpdateKeyRequest, context: Context) -> KeyMessage:
        async with self._changing(request) as changing:
            key = changing.key
            await changing.change.store.describe_key(
                key_id=key.key_id, name=request.name, description=request.description
            )
            return await changing.end(name_before=key.name, name=request.name)

    async def SetKeyServices(self, request: pb.SetKeyServicesRequest, context: Context) -> KeyMessage:
        wanted = [UUID(service_id) for service_id in request.service_ids]
        keys.require_distinct(wanted)
        async with self._changing(request) as changing:
            key, store = changing.key, changing.change.store
            # Taking away is open to whoever may change the key; what is added must be open to them now.
            kept = {service.service_id for service in key.callable_services}
            added = [service_id for service_id in wanted if service_id not in kept]
            key_services.require_not_revoked(key.services, wanted)
            if added:
                right = ProjectRight.CHANGE_OWN_KEYS
                holder = await lock_holder(store, current_user_id(), key.project_id, right)
                await require_usable(store, holder, added)
            await store.unassign_services(key_id=key.key_id, service_ids=wanted)
            await store.assign_services(key, wanted, changing.now)
            answer = await changing.end(service_ids=",".join(request.service_ids))
        return await self.deliveries.tell(answer, changing.change)

    async def SetAllowedNetworks(self, request: pb.SetAllowedNetworksRequest, context: Context) -> KeyMessage:
        networks = key_services.networks_of(request.allowed_networks)
        async with self._changing(request) as changing:
            await changing.change.store.set_allowed_networks(
                key_id=changing.key.key_id, allowed_networks=networks
            )
            answer = await changing.end(allowed_networks=", ".join(networks) or "any")
        return await self.deliveries.tell(answer, changing.change)

    async def SetAllowedCalls(self, request: pb.SetAllowedCallsRequest, context: Context) -> KeyMessage:
        rules = key_services.rules_json(request.allowed_calls)
        service_id = UUID(request.service_id)
        async with self._changing(request) as changing:
            key_services.require_assigned(changing.key.services, service_id)
            await changing.change.store.set_allowed_calls(
                key_id=changing.key.key_id, service_id=service_id, allowed_calls=rules
            )
            answer = await changing.end(service_id=request.service_id, allowed_calls=rules)
        return await self.deliveries.tell(answer, changing.change)

    async def DisableKey(self, request: pb.DisableKeyRequest, context: Context) -> KeyMessage:
        async with self._changing(request) as changing:
            keys.require_status(changing.key, KEY_ACTIVE, changing.now)
            await changing.change.store.set_disabled(key_id=changing.key.key_id, disabled_at=changing.now)
            answer = await changing.end()
        return await self.deliveries.tell(answer, changing.change)

    async def EnableKey(self, request: pb.EnableKeyRequest, context: Context) -> KeyMessage:
        async with self._changing(request) as changing:
            keys.require_status(changing.key, KEY_DISABLED, changing.now)
            await changing.change.store.set_disabled(key_id=changing.key.key_id, disabled_at=None)
            return await changing.end()

    async def RotateKey(self, request: pb.RotateKeyRequest, context: Context) -> pb.RotateKeyResponse:
        overlap = timedelta(minutes=request.overlap_minutes)
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.RotateKeyResponse)) is not None:
                return done
            changing = await _begin(change, request)
            key, now = changing.key, changing.now
            standing.require_active(changing.consumer.standing)
            new = apikeys.generate(is_test=key.is_test)
            await change.store.end_previous_secrets(key_id=key.key_id, ends_at=now)
            await change.store.keep_previous_secret(
                key_hash=key.key_hash,
                key_id=key.key_id,
                key_prefix=key.key_prefix,
                replaced_at=now,
                ends_at=now + overlap,
            )
            await change.store.replace_secret(
                key_id=key.key_id, key_hash=new.sha256, key_prefix=new.prefix, rotated_at=now
            )
            answer = pb.RotateKeyResponse(
                key=await changing.end(
                    key_prefix_before=key.key_prefix, overlap_minutes=str(request.overlap_minutes)
                )
            )
            # Before the secret is added: what is kept for a replay never holds it.
            await change.remember(request, answer)
        await self.deliveries.tell(answer.key, change)
        answer.secret = new.secret
        return answer

    async def EndPreviousSecret(self, request: pb.EndPreviousSecretRequest, context: Context) -> KeyMessage:
        async with self._changing(request) as changing:
            secrets.require_overlap(changing.key.previous, changing.now)
            await changing.change.store.end_previous_secrets(key_id=changing.key.key_id, ends_at=changing.now)
            answer = await changing.end()
        return await self.deliveries.tell(answer, changing.change)

    async def BatchGetKeyActivity(
        self, request: pb.BatchGetKeyActivityRequest, context: Context
    ) -> pb.BatchGetKeyActivityResponse:
        key_ids = [UUID(key_id) for key_id in request.key_ids]
        async with self.database.read() as store:
            if ADMIN in current_caller().roles:
                seen = await store.find_keys(key_ids=key_ids)
            else:
                seen = await store.find_seen_keys(key_ids=key_ids, user_id=current_user_id())
        return pb.BatchGetKeyActivityResponse(
            activities=await self.activities.ask([key.key_id for key in seen])
        )

    @asynccontextmanager
    async def _changing(self, request: KeyRequest) -> AsyncIterator[_Changing]:
        async with self.database.change() as change:
            yield await _begin(change, request)


async def _begin(change: Change[Store], request: KeyRequest) -> _Changing:
    consumer, key = await lock_key(change.store, request, current_user_id())
    return _Changing(change, consumer, key, utc_now())
