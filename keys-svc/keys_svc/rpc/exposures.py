"""The RPCs of ExposuresService: keys whose secrets were found in public."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from uuid import UUID

from ams.keys.v1 import exposures_service_pb2 as pb
from ams.keys.v1 import exposures_service_pb2_grpc as rpc
from ams.keys.v1.events_pb2 import KEY_ACTIVE
from ams_common import apikeys
from ams_common.clients import client_network
from ams_common.clock import to_timestamp, utc_now
from ams_common.context import current_client_address, current_user_id
from ams_common.database import Change, Database
from ams_common.errors import AppError
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from keys_svc.exposures import Exposure, exposed_since
from keys_svc.hand_in_limits import HandInLimits
from keys_svc.key_activity import KeyCosts
from keys_svc.keys import Key, found, status_of
from keys_svc.publishing import write_key
from keys_svc.secret_scanning import ScanningKeys, check_signature, read_report
from keys_svc.store import Store


@dataclass(kw_only=True, eq=False)
class ExposuresService(rpc.ExposuresServiceServicer):
    database: Database[Store]
    scanning_keys: ScanningKeys
    costs: KeyCosts
    limits: HandInLimits = field(default_factory=lambda: HandInLimits(time.monotonic))

    async def ReportFoundKeys(
        self, request: pb.ReportFoundKeysRequest, context: Context
    ) -> pb.ReportFoundKeysResponse:
        signing_key = await self.scanning_keys.find(request.key_identifier)
        check_signature(signing_key, request.body, request.signature)
        labels = []
        for each in read_report(request.body):
            where = each.url or "a public place that the code host doesn't name"
            is_key = await self._report(each.token, where, None)
            labels.append(
                pb.ReportFoundKeysResponse.Label(token=each.token, token_type=each.token_type, is_key=is_key)
            )
        return pb.ReportFoundKeysResponse(labels=labels)

    async def HandInKey(self, request: pb.HandInKeyRequest, context: Context) -> pb.HandInKeyResponse:
        self.limits.take(client_network(current_client_address()))
        said = None
        if request.exposed_since:
            day = date.fromisoformat(request.exposed_since)
            said = datetime.combine(day, time_of_day(), UTC)
        await self._report(request.secret.strip(), request.found_at, said)
        return pb.HandInKeyResponse()

    async def ListExposures(
        self, request: pb.ListExposuresRequest, context: Context
    ) -> pb.ListExposuresResponse:
        async with self.database.read() as store:
            key = found(await store.find_key(key_id=UUID(request.key_id), user_id=current_user_id()))
            exposures = await store.exposures.list_exposures(key_id=key.key_id)
        return pb.ListExposuresResponse(
            exposures=[await self._exposure_message(key, exposure) for exposure in exposures]
        )

    async def GetExposureChoice(
        self, request: pb.GetExposureChoiceRequest, context: Context
    ) -> pb.ExposureChoice:
        async with self.database.read() as store:
            consumer = await store.find_consumer(current_user_id())
        return pb.ExposureChoice(disables_found_keys=consumer.disables_found_keys)

    async def SetExposureChoice(self, request: pb.ExposureChoice, context: Context) -> pb.ExposureChoice:
        consumer_id = current_user_id()
        async with self.database.change() as change:
            await change.store.lock_consumer(consumer_id)
            await change.store.exposures.set_exposure_choice(
                consumer_id=consumer_id, disables_found_keys=request.disables_found_keys
            )
            change.audit(
                "consumer", consumer_id, disables_found_keys=str(request.disables_found_keys).lower()
            )
        return request

    async def _report(self, token: str, found_at: str, said: datetime | None) -> bool:
        """Whether there is such a key; if it opens anything, its owner will be told, once for a place."""
        key_hash = apikeys.hash_key(token)
        if key_hash is None:
            return False
        async with self.database.read() as store:
            known = await store.find_secrets([key_hash])
        if key_hash not in known:
            return False
        async with self.database.change() as change:
            await _expose(change, known[key_hash][0].consumer_id, key_hash, found_at, said)
        return True

    async def _exposure_message(self, key: Key, exposure: Exposure) -> pb.Exposure:
        message = pb.Exposure(
            exposure_id=str(exposure.exposure_id),
            found_at=exposure.found_at,
            exposed_since=to_timestamp(exposure.exposed_since),
            reported_at=to_timestamp(exposure.reported_at),
            has_disabled=exposure.has_disabled,
        )
        # The rest is worth showing without it.
        with suppress(AppError):
            message.cost_since.extend(
                await self.costs.since(key.consumer_id, key.key_id, exposure.exposed_since)
            )
        return message


async def _expose(
    change: Change[Store], consumer_id: UUID, key_hash: bytes, found_at: str, said: datetime | None
) -> None:
    """What follows from a find, with the consumer locked."""
    consumer = await change.store.lock_consumer(consumer_id)
    key, secret = (await change.store.find_secrets([key_hash]))[key_hash]
    now = utc_now()
    if key.revoked_at is not None or secret.expires_at <= now:
        # Nothing can happen with it any more.
        change.nothing_to_audit()
        return
    is_present = key_hash == key.key_hash
    disables = consumer.disables_found_keys and (status_of(key, now) == KEY_ACTIVE or not is_present)
    exposure_id = await change.store.exposures.add_exposure(
        exposure_id=uuid7(),
        key_id=key.key_id,
        key_hash=key_hash,
        found_at=found_at,
        exposed_since=exposed_since(said, key, now),
        reported_at=now,
        has_disabled=disables,
    )
    if exposure_id is None:
        change.nothing_to_audit()
        return
    if disables:
        await _disable(change, key, is_present, now)
        await write_key(change, consumer, key.key_id, now)
    change.audit(
        "key",
        key.key_id,
        key_prefix=secret.key_prefix,
        found_at=found_at,
        has_disabled=str(disables).lower(),
    )


async def _disable(change: Change[Store], key: Key, is_present: bool, now: datetime) -> None:
    """The key; or only a secret that it has replaced already, for the present one isn't known to anybody."""
    if is_present:
        await change.store.set_disabled(key_id=key.key_id, disabled_at=now)
    else:
        await change.store.end_previous_secrets(key_id=key.key_id, ends_at=now)
