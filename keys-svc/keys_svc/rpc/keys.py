"""The RPCs about API keys: a consumer makes, reads and revokes its own, servers load snapshots."""

from dataclasses import dataclass, replace
from uuid import UUID

from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common import apikeys
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import NotFoundError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request, patterns_of
from ams_common.snapshots import key_snapshot_key

from keys_svc import keys, standing
from keys_svc.keys import Key
from keys_svc.messages import key_message, key_snapshot
from keys_svc.store import Store


@dataclass(kw_only=True, eq=False)
class KeyRpcs:
    database: Database[Store]

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        consumer_id = current_user_id()
        service_ids = [UUID(service_id) for service_id in request.service_ids]
        keys.require_distinct(service_ids)
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.CreateKeyResponse)) is not None:
                return done
            now = utc_now()
            consumer_standing = await change.store.lock_consumer(consumer_id)
            standing.require_active(consumer_standing)
            ungranted = await change.store.ungranted(consumer_id=consumer_id, service_ids=service_ids)
            keys.require_granted(service_ids, ungranted)
            keys.require_below_limit(await change.store.count_active_keys(consumer_id=consumer_id, now=now))
            new = apikeys.generate()
            key = Key(
                key_id=uuid7(),
                key_hash=new.sha256,
                key_prefix=new.prefix,
                consumer_id=consumer_id,
                name=request.name,
                description=request.description,
                ttl_days=request.ttl_days,
                created_at=now,
                expires_at=keys.expiry(now, request.ttl_days),
                service_ids=sorted(service_ids),
            )
            await change.store.add_key(key)
            change.snapshot(key_snapshot_key(key.key_hash), key_snapshot(key, consumer_standing, now))
            change.audit(
                "key", key.key_id, key_prefix=key.key_prefix, service_ids=",".join(request.service_ids)
            )
            answer = pb.CreateKeyResponse(key=key_message(key, now))
            # Before the secret is added: what is kept for a replay never holds it.
            await change.remember(request, answer)
        answer.secret = new.secret
        return answer

    async def GetKey(self, request: pb.GetKeyRequest, context: Context) -> pb.Key:
        async with self.database.read() as store:
            key = await store.find_key(key_id=UUID(request.key_id), consumer_id=current_user_id())
        return key_message(_found(key), utc_now())

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        now = utc_now()
        async with self.database.read() as store:
            page = await store.list_keys(
                page_request(request),
                consumer_id=current_user_id(),
                patterns=patterns_of(request.query),
                status=keys.status_filter(request.status),
                now=now,
            )
        return pb.ListKeysResponse(
            keys=[key_message(key, now) for key in page.rows], next_page_token=page.next_token
        )

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.Key:
        """Also for an expired key, and for a blocked consumer: taking access away is never refused."""
        consumer_id = current_user_id()
        async with self.database.change() as change:
            consumer_standing = await change.store.lock_consumer(consumer_id)
            # Read under the lock, so that what the snapshot says of the key is its newest state.
            key = _found(await change.store.find_key(key_id=UUID(request.key_id), consumer_id=consumer_id))
            keys.require_unrevoked(key)
            now = utc_now()
            await change.store.revoke_key(key_id=key.key_id, consumer_id=consumer_id, revoked_at=now)
            revoked = replace(key, revoked_at=now)
            # Overwritten, never deleted: a gateway that found no snapshot would have to ask for one.
            change.snapshot(key_snapshot_key(revoked.key_hash), key_snapshot(revoked, consumer_standing, now))
            change.audit("key", revoked.key_id, key_prefix=revoked.key_prefix)
            return key_message(revoked, now)

    async def GetKeySnapshot(self, request: pb.GetKeySnapshotRequest, context: Context) -> KeySnapshot:
        async with self.database.read() as store:
            key = _found(await store.find_key_by_hash(key_hash=request.key_hash))
            consumer_standing = await store.standing(key.consumer_id)
        return key_snapshot(key, consumer_standing, utc_now())


def _found(key: Key | None) -> Key:
    # Somebody else's key answers as none: nobody can find out which ids there are.
    if key is None:
        raise NotFoundError("key_not_found", "There is no such key.")
    return key
