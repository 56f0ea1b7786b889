"""The RPCs about API keys."""

from collections.abc import Sequence
from uuid import UUID

from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common import apikeys
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import NotFoundError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request, patterns_of
from ams_common.snapshots import key_snapshot_key

from keys_svc import keys, standing
from keys_svc.keys import Key
from keys_svc.store import Store


class KeyRpcs:
    """A consumer makes, reads and revokes its own keys; the gateway loads their snapshots."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        service_ids = [UUID(service_id) for service_id in request.service_ids]
        keys.require_distinct(service_ids)
        async with self._database.change() as change:
            if (done := await change.replay(request, pb.CreateKeyResponse)) is not None:
                return done
            secret, answer = await self._create_key(change, request, service_ids)
            # What is kept for a replay never holds the secret.
            await change.remember(request, answer)
        return pb.CreateKeyResponse(key=answer.key, secret=secret)

    async def GetKey(self, request: pb.GetKeyRequest, context: Context) -> pb.Key:
        async with self._database.read() as connection:
            key = await self._store.find_key(connection, UUID(request.key_id), current_user_id())
        return keys.key_message(_found(key), utc_now())

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        now = utc_now()
        async with self._database.read() as connection:
            page = await self._store.list_keys(
                connection,
                page_request(request),
                current_user_id(),
                patterns_of(request.query),
                keys.status_filter(request.status),
                now,
            )
        return pb.ListKeysResponse(
            keys=[keys.key_message(key, now) for key in page.rows], next_page_token=page.next_token
        )

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.Key:
        """Also for an expired key, and for a blocked consumer: taking access away is never refused."""
        async with self._database.change() as change:
            consumer_standing = await self._store.lock_consumer(change.connection, current_user_id())
            key = _found(
                await self._store.find_key(change.connection, UUID(request.key_id), current_user_id())
            )
            keys.require_unrevoked(key)
            now = utc_now()
            revoked = await self._store.revoke_key(change.connection, key, now)
            # Overwritten, never deleted: a gateway that found no snapshot would have to ask for one.
            change.snapshot(
                key_snapshot_key(revoked.key_hash), keys.key_snapshot(revoked, consumer_standing, now)
            )
            change.audit("key", revoked.key_id, key_prefix=revoked.key_prefix)
            return keys.key_message(revoked, now)

    async def GetKeySnapshot(self, request: pb.GetKeySnapshotRequest, context: Context) -> KeySnapshot:
        async with self._database.read() as connection:
            key = _found(await self._store.find_key_by_hash(connection, request.key_hash))
            consumer_standing = await self._store.standing(connection, key.consumer_id)
        return keys.key_snapshot(key, consumer_standing, utc_now())

    async def _create_key(
        self, change: Change, request: pb.CreateKeyRequest, service_ids: Sequence[UUID]
    ) -> tuple[str, pb.CreateKeyResponse]:
        """The secret, and the answer without it."""
        consumer_id, now = current_user_id(), utc_now()
        consumer_standing = await self._store.lock_consumer(change.connection, consumer_id)
        standing.require_active(consumer_standing)
        keys.require_granted(
            service_ids, await self._store.ungranted(change.connection, consumer_id, service_ids)
        )
        keys.require_room(await self._store.count_active_keys(change.connection, consumer_id, now))
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
        await self._store.add_key(change.connection, key)
        change.snapshot(key_snapshot_key(key.key_hash), keys.key_snapshot(key, consumer_standing, now))
        change.audit("key", key.key_id, key_prefix=key.key_prefix, service_ids=",".join(request.service_ids))
        return new.secret, pb.CreateKeyResponse(key=keys.key_message(key, now))


def _found(key: Key | None) -> Key:
    """Somebody else's key answers as none."""
    if key is None:
        raise NotFoundError("key_not_found", "There is no such key.")
    return key
