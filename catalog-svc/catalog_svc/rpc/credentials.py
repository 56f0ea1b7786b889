"""The RPCs about what proves to a merchant's API that a call came through AMS."""

from dataclasses import dataclass
from datetime import datetime

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.clock import Clock, from_timestamp
from ams_common.database import Change, Database
from ams_common.field_changes import field_change
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.outbox import Deliveries
from ams_common.sealing import Sealer

from catalog_svc import credentials
from catalog_svc.messages import signing_key_message
from catalog_svc.publishing import write_snapshot
from catalog_svc.records import ServiceRecord, SigningKey
from catalog_svc.rpc.locked_services import answer, lock_own
from catalog_svc.store import Store


@dataclass(kw_only=True, eq=False)
class CredentialRpcs:
    database: Database[Store]
    clock: Clock
    sealer: Sealer
    deliveries: Deliveries

    async def SetUpstreamCredential(
        self, request: pb.SetUpstreamCredentialRequest, context: Context
    ) -> pb.Service:
        credentials.check_credential(request)
        now = self.clock()
        async with self.database.change() as change:
            before = await _lock(change, request, now)
            record = credentials.with_credential(before, request, self.sealer, now)
            # Only which header: whoever reads the audit log must not be let in at the merchant's.
            header_name = record.credential.header_name if record.credential is not None else ""
            kept = [bool(each.credential) or None for each in (before, record)]
            changes = [field_change("upstream_credential", *kept, is_masked=True)]
            change.audit("service", record.service_id, changes, header_name=header_name)
            await _save(change, record, now)
            return await answer(change.store, record)

    async def RotateSigningKey(
        self, request: pb.RotateSigningKeyRequest, context: Context
    ) -> pb.RotateSigningKeyResponse:
        now, secret = self.clock(), credentials.new_secret()
        wanted = from_timestamp(request.starts_at) if request.HasField("starts_at") else None
        async with self.database.change() as change:
            before = await _lock(change, request, now)
            starts_at = credentials.wanted_start(before, request.at_once, wanted, now)
            key = SigningKey(uuid7(), now, starts_at)
            record = credentials.with_new_signing_key(before, key, self.sealer.seal(secret))
            change.audit(
                "service",
                record.service_id,
                signing_key_id=str(key.signing_key_id),
                starts_at=(starts_at or now).isoformat(timespec="seconds"),
            )
            await _save(change, record, now)
            service = await answer(change.store, record)
        # A later start is known everywhere long before: only who is to stop signing now is waited for.
        if starts_at is None and before.signing_key is not None:
            await self.deliveries.tell(service, change)
        return pb.RotateSigningKeyResponse(
            service=service,
            signing_key=signing_key_message(key),
            secret=credentials.shown_secret(secret),
        )

    async def UseSigningKey(self, request: pb.UseSigningKeyRequest, context: Context) -> pb.Service:
        now = self.clock()
        async with self.database.change() as change:
            record = credentials.with_next_signing_key(await _lock(change, request, now), now)
            assert record.signing_key is not None
            change.audit("service", record.service_id, signing_key_id=str(record.signing_key.signing_key_id))
            await _save(change, record, now)
            service = await answer(change.store, record)
        return await self.deliveries.tell(service, change)


async def _lock(
    change: Change[Store],
    request: pb.SetUpstreamCredentialRequest | pb.RotateSigningKeyRequest | pb.UseSigningKeyRequest,
    now: datetime,
) -> ServiceRecord:
    """The caller's service, held for a change. Raises as lock_own, or FailedPreconditionError."""
    record = await lock_own(change, request.service_id, now, request.etag)
    credentials.check_called(record)
    return record


async def _save(change: Change[Store], record: ServiceRecord, now: datetime) -> None:
    await change.store.save_service(record)
    await write_snapshot(change, record.service_id, now)
