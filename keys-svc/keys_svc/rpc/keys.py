"""The RPCs about API keys: made, read and revoked by whom they belong to; servers load snapshots."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common import apikeys
from ams_common.clock import from_timestamp, utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, PermissionDeniedError
from ams_common.field_changes import field_changes
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.outbox import Deliveries, write_again
from ams_common.paging import page_request, patterns_of
from ams_common.platform_settings import DEFAULTS
from ams_common.project_rights import ProjectRight
from ams_common.projects import require_right
from ams_common.snapshots import key_snapshot_key

from keys_svc import keys
from keys_svc.holders import Holder, lock_holder, lock_key, may_change, seen_holders
from keys_svc.key_services import KeyService, networks_of
from keys_svc.keys import Key, found
from keys_svc.messages import key_message, key_snapshot
from keys_svc.publishing import write_key
from keys_svc.spend_caps import cap_of
from keys_svc.store import Store


@dataclass(kw_only=True, eq=False)
class KeyRpcs:
    """`max_active_keys` says how many active keys one holder may have, by the platform's settings."""

    database: Database[Store]
    deliveries: Deliveries
    max_active_keys: Callable[[], int] = lambda: DEFAULTS.max_active_keys

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        user_id = current_user_id()
        project_id = UUID(request.project_id) if request.project_id else None
        service_ids = [UUID(service_id) for service_id in request.service_ids]
        keys.require_distinct(service_ids)
        networks = networks_of(request.allowed_networks)
        spend_cap = cap_of(request.spend_cap, "spendCap") if request.HasField("spend_cap") else None
        fixed_end = from_timestamp(request.expires_at) if request.HasField("expires_at") else None
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.CreateKeyResponse)) is not None:
                return done
            now = utc_now()
            expires_at = keys.wanted_expiry(now, request.ttl_days, fixed_end)
            holder = await lock_holder(change.store, user_id, project_id, ProjectRight.CREATE_KEYS)
            if spend_cap is not None and project_id is not None:
                await require_right(change.store.connection, project_id, user_id, ProjectRight.SET_SPEND_CAP)
            await require_usable(change.store, holder, service_ids)
            keys.require_below_limit(
                await change.store.count_active_keys(holder_id=holder.holder_id, now=now),
                self.max_active_keys(),
            )
            new = apikeys.generate(is_test=request.is_test)
            key = Key(
                key_id=uuid7(),
                key_hash=new.sha256,
                key_prefix=new.prefix,
                consumer_id=holder.consumer.consumer_id,
                project_id=project_id,
                created_by=user_id,
                name=request.name,
                description=request.description,
                ttl_days=request.ttl_days or None,
                created_at=now,
                expires_at=expires_at,
                allowed_networks=networks,
                spend_cap=spend_cap,
                is_test=request.is_test,
                services=[KeyService(service_id=service_id) for service_id in sorted(service_ids)],
            )
            await change.store.add_key(key)
            key = await write_key(change, holder.consumer, key.key_id, now)
            change.audit(
                "key",
                key.key_id,
                key_prefix=key.key_prefix,
                service_ids=",".join(request.service_ids),
                **({"project_id": request.project_id} if project_id else {}),
            )
            answer = pb.CreateKeyResponse(key=key_message(key, now, is_changeable=True))
            # Before the secret is added: what is kept for a replay never holds it.
            await change.remember(request, answer)
        answer.secret = new.secret
        return answer

    async def GetKey(self, request: pb.GetKeyRequest, context: Context) -> pb.Key:
        user_id = current_user_id()
        async with self.database.read() as store:
            key = found(await store.find_key(key_id=UUID(request.key_id), user_id=user_id))
            memberships = await store.memberships_of(user_id)
        member = memberships.get(key.project_id) if key.project_id else None
        return key_message(key, utc_now(), may_change(key, user_id, member.role if member else None))

    async def BatchGetKeyNames(
        self, request: pb.BatchGetKeyNamesRequest, context: Context
    ) -> pb.BatchGetKeyNamesResponse:
        async with self.database.read() as store:
            found = await store.list_key_names(key_ids=[UUID(key_id) for key_id in request.key_ids])
        return pb.BatchGetKeyNamesResponse(
            keys=[pb.KeyName(key_id=str(each.key_id), name=each.name) for each in found]
        )

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        now, user_id = utc_now(), current_user_id()
        project_id = UUID(request.project_id) if request.project_id else None
        async with self.database.read() as store:
            memberships = await store.memberships_of(user_id)
            page = await store.list_keys(
                page_request(request),
                holder_ids=seen_holders(user_id, memberships, ProjectRight.SEE_KEYS, project_id),
                patterns=patterns_of(request.query),
                status=keys.status_filter(request.status),
                now=now,
            )
        roles = {each: member.role for each, member in memberships.items()}
        return pb.ListKeysResponse(
            keys=[
                key_message(
                    key, now, may_change(key, user_id, roles.get(key.project_id) if key.project_id else None)
                )
                for key in page.rows
            ],
            next_page_token=page.next_token,
        )

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.Key:
        """Also for an expired key, and for a blocked consumer: taking access away is never refused."""
        key_id = UUID(request.key_id)
        async with self.database.change() as change:
            # Read under the lock: of two that revoke at once the second finds it done.
            consumer, key = await lock_key(change.store, request, current_user_id())
            now = utc_now()
            await change.store.revoke_key(key_id=key_id, revoked_at=now)
            revoked = await write_key(change, consumer, key_id, now)
            answer = key_message(revoked, now, is_changeable=True)
            before = key_message(key, now, is_changeable=True)
            changes = field_changes(before, answer, only=("status",))
            change.audit("key", key_id, changes, key_prefix=revoked.key_prefix)
        return await self.deliveries.tell(answer, change)

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
            known = await store.find_secrets(list(key_hashes))
            consumer_ids = {key.consumer_id for key, _ in known.values()}
            consumers = {
                consumer.consumer_id: consumer
                for consumer in await store.find_consumers(consumer_ids=list(consumer_ids))
            }
        now = utc_now()
        return {
            key_hash: key_snapshot(key, secret, consumers[key.consumer_id], now)
            for key_hash, (key, secret) in known.items()
        }


async def require_usable(store: Store, holder: Holder, service_ids: list[UUID]) -> None:
    """Raises FailedPreconditionError service_not_granted, PermissionDeniedError service_not_for_member."""
    ungranted = await store.access.ungranted(holder_id=holder.holder_id, service_ids=service_ids)
    keys.require_granted(service_ids, ungranted)
    violations = [
        FieldViolation(f"serviceIds[{index}]", "isn't among those that you may use in this project")
        for index, service_id in enumerate(service_ids)
        if not holder.may_use(service_id)
    ]
    if violations:
        raise PermissionDeniedError(
            "service_not_for_member", "You may not use some of these services in this project.", violations
        )
