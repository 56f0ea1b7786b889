"""What is written down of pushes and pulls: the versions, their audit records, events and usage, each in
one transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.policy.v1.policy_pb2 import Rule
from ams.usage.v1.events_pb2 import ANSWERED, UsageEvent
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.context import Call, Caller, current_call, current_request_id
from ams_common.database import Change, Database
from ams_common.ids import uuid7

from registry_svc.access_tokens import Access
from registry_svc.gatekeeper import Publisher, Puller
from registry_svc.images import Image, changed_event
from registry_svc.oci_errors import OciError
from registry_svc.store import Pull, Store


class Ledger:
    """The registry's books."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    async def find_version(self, name: str, reference: str) -> Image | None:
        """The version with this tag or digest, or whose index names the digest."""
        async with self._database.read() as connection:
            return await self._store.find_version(connection, name, reference)

    async def tags(self, name: str, last: str, limit: int) -> Sequence[str]:
        async with self._database.read() as connection:
            return await self._store.list_tags(connection, name, last, limit)

    async def publish(self, image: Image) -> None:
        """The version is active from now on. Raises OciError DENIED when it is there with other content."""
        async with self._change("image.push", image.merchant_id) as change:
            saved = await self._store.save_image(change.connection, image)
            if saved is None:
                raise OciError(
                    "DENIED",
                    f"Version {image.tag} of {image.name} is there already with other content."
                    " Push a new version.",
                )
            change.audit("image", saved.image_id, name=saved.name, tag=saved.tag, digest=saved.digest)
            self._announce(change, saved)

    async def reject(self, image: Image) -> None:
        async with self._change("image.reject", image.merchant_id) as change:
            image_id = await self._store.save_rejection(change.connection, image)
            change.audit("image", image_id, name=image.name, tag=image.tag, reason=image.rejection_reason)
            self._announce(change, replace(image, image_id=image_id))

    async def delete(self, publisher: Publisher, name: str, reference: str) -> set[str]:
        """The digests that no version has any more; none when there is no such version."""
        async with self._change("image.delete", publisher.token.merchant_id) as change:
            deleted = await self._store.delete_versions(change.connection, name, reference)
            for image in deleted:
                change.audit("image", image.image_id, name=image.name, tag=image.tag, digest=image.digest)
                self._announce(change, image)
            change.audited = True  # nothing deleted, nothing to tell
            digests = {image.digest for image in deleted}
            kept = {d for d in digests if await self._store.find_version(change.connection, name, d)}
        return digests - kept

    async def pull(
        self,
        access: Access,
        puller: Puller,
        service: ServiceSnapshot,
        image: Image,
        manifest_bytes: int,
        duration_ms: int,
    ) -> None:
        """Once for an access token and version, however many manifests the client asks for: one request
        to bill."""
        now = utc_now()
        pull = Pull(
            pull_id=uuid7(),
            token_id=access.token_id,
            image_id=image.image_id,
            digest=image.digest,
            consumer_id=UUID(puller.key.consumer_id),
            key_id=UUID(puller.key.key_id),
            pulled_at=now,
        )
        usage = UsageEvent(
            event_id=pull.pull_id.bytes,
            timestamp=to_timestamp(now),
            consumer_id=puller.key.consumer_id,
            api_key_id=puller.key.key_id,
            service_id=service.service_id,
            merchant_id=service.merchant_id,
            project_id=puller.key.project_id,
            price_version_id=service.price_version_id,
            key_prefix=puller.key.key_prefix,
            response_payload_size_bytes=manifest_bytes,
            response_time_ms=duration_ms,
            status_code=200,
            outcome=ANSWERED,
        )
        async with self._change("image.pull", pull.consumer_id) as change:
            change.audited = True  # a pull that was written down before needs no second record
            if await self._store.add_pull(change.connection, pull):
                change.audit("image", image.image_id, name=image.name, tag=image.tag, digest=image.digest)
                change.publish(topics.USAGE_EVENTS, usage.consumer_id, usage)

    @asynccontextmanager
    async def _change(self, action: str, user_id: UUID) -> AsyncIterator[Change]:
        """A change by a person who signed in with a push token or an API key: what an RPC's rule says is
        said here."""
        call = Call(current_request_id(), Caller(user_id=user_id), Rule(audit=action))
        reset = current_call.set(call)
        try:
            async with self._database.change() as change:
                yield change
        finally:
            current_call.reset(reset)

    def _announce(self, change: Change, image: Image) -> None:
        change.publish(topics.REGISTRY_EVENTS, str(image.service_id), changed_event(image, utc_now()))
