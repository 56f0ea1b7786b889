"""The RPCs about API keys: a consumer makes, reads and revokes its own, servers load snapshots."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common import apikeys
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.outbox import is_delivered, write_again
from ams_common.paging import page_request, patterns_of
from ams_common.snapshots import CONFIRMED_WITHIN, key_snapshot_key

from keys_svc import keys, standing
from keys_svc.keys import Key, found
from keys_svc.messages import key_message, key_snapshot
from keys_svc.publishing import write_key
from keys_svc.spend_caps import cap_of
from keys_svc.store import Store


@dataclass(kw_only=True, eq=False)
class KeyRpcs:
    """`delivery_wait_s`: how long revoking waits to see that the gateways can know of it."""

    database: Database[Store]
    delivery_wait_s: float = 1.0

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        consumer_id = current_user_id()
        service_ids = [UUID(service_id) for service_id in request.service_ids]
        keys.require_distinct(service_ids)
        spend_cap = cap_of(request.spend_cap, "spendCap") if request.HasField("spend_cap") else None
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.CreateKeyResponse)) is not None:
                return done
            now = utc_now()
            consumer = await change.store.lock_consumer(consumer_id)
            standing.require_active(consumer.standing)
            ungranted = await change.store.ungranted(consumer_id=consumer_id, service_ids=service_ids)
            keys.require_granted(service_ids, ungranted)
            keys.require_below_limit(await change.store.count_active_keys(consumer_id=consumer_id, now=now))
            new = apikeys.generate(is_test=request.is_test)
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
                spend_cap=spend_cap,
                is_test=request.is_test,
                service_ids=sorted(service_ids),
            )
            await change.store.add_key(key)
            await write_key(change, consumer, key.key_id, now)
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
        return key_message(found(key), utc_now())

    async def BatchGetKeyNames(
        self, request: pb.BatchGetKeyNamesRequest, context: Context
    ) -> pb.BatchGetKeyNamesResponse:
        async with self.database.read() as store:
            found = await store.list_key_names(key_ids=[UUID(key_id) for key_id in request.key_ids])
        return pb.BatchGetKeyNamesResponse(
            keys=[pb.KeyName(key_id=str(each.key_id), name=each.name) for each in found]
        )

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
        consumer_id, key_id = current_user_id(), UUID(request.key_id)
        async with self.database.change() as change:
            consumer = await change.store.lock_consumer(consumer_id)
            # Read under the lock: of two that revoke at once the second finds it done.
            keys.require_unrevoked(found(await change.store.find_key(key_id=key_id, consumer_id=consumer_id)))
            now = utc_now()
            await change.store.revoke_key(key_id=key_id, consumer_id=consumer_id, revoked_at=now)
            revoked = await write_key(change, consumer, key_id, now)
            change.audit("key", key_id, key_prefix=revoked.key_prefix)
        answer = key_message(revoked, now)
        # After the commit, without any lock. While Redis is away the gateways find out by asking us.
        if not await is_delivered(self.database, key_snapshot_key(revoked.key_hash), self.delivery_wait_s):
            answer.effective_by.FromDatetime(utc_now() + CONFIRMED_WITHIN)
        return answer

    async def GetKeySnapshot(self, request: pb.GetKeySnapshotRequest, context: Context) -> KeySnapshot:
        snapshots = await self._snapshots([request.key_hash])
        if request.key_hash not in snapshots:
            raise keys.key_not_found()
        return snapshots[request.key_hash]

    async def CheckKeySnapshots(
        self, request: pb.CheckKeySnapshotsRequest, context: Context
    ) -> pb.CheckKeySnapshotsResponse:
        held = {each.key_hash: each.version for each in request.held}
        snapshots = await self._snapshots(held)
        changed = {
            key_hash: snapshot
            for key_hash, snapshot in snapshots.items()
            if snapshot.version != held[key_hash]
        }
        # Who holds an old one had it from Redis, most likely, where it would mislead the next who looks.
        outdated = {
            key_snapshot_key(key_hash): snapshot
            for key_hash, snapshot in changed.items()
            if snapshot.version > held[key_hash]
        }
        await write_again(self.database, outdated)
        return pb.CheckKeySnapshotsResponse(
            changed=[
                pb.CheckKeySnapshotsResponse.Changed(key_hash=key_hash, snapshot=snapshot)
                for key_hash, snapshot in changed.items()
            ],
            missing=[key_hash for key_hash in held if key_hash not in snapshots],
        )

    async def _snapshots(self, key_hashes: Iterable[bytes]) -> Mapping[bytes, KeySnapshot]:
        """By hash, of those that there are."""
        async with self.database.read() as store:
            found_keys = await store.find_keys_by_hash(key_hashes=list(key_hashes))
            consumer_ids = {key.consumer_id for key in found_keys}
            consumers = {
                consumer.consumer_id: consumer
                for consumer in await store.find_consumers(consumer_ids=list(consumer_ids))
            }
        now = utc_now()
        return {key.key_hash: key_snapshot(key, consumers[key.consumer_id], now) for key in found_keys}
