"""What is written down of pushes and pulls: the versions, their audit records, events and usage, each in
one transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID
from weakref import WeakValueDictionary

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.policy.v1.policy_pb2 import Rule
from ams.usage.v1.events_pb2 import ANSWERED, UsageEvent
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.context import Call, Caller, current_call, current_request_id
from ams_common.database import Change, Database
from ams_common.ids import uuid7

from registry_svc import names
from registry_svc.auth import access_tokens
from registry_svc.auth.access_tokens import Access
from registry_svc.auth.authorizer import Publisher, Puller
from registry_svc.images.manifests import Manifest
from registry_svc.images.versions import Image, changed_event, push_conflict
from registry_svc.oci.errors import OciError
from registry_svc.storage.store import Pull, Store

# Pushes and deletions hold a connection while the provider works: some must be left for everything else.
_MAX_HELD_CONNECTIONS = 4
_HELD_S = 60
_RESOLUTIONS_KEPT = 2 * access_tokens.TTL
_BETWEEN_REFUSALS = timedelta(minutes=1)


class Ledger:
    """The registry's books."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store
        self._held_connections = asyncio.Semaphore(_MAX_HELD_CONNECTIONS)
        # By service: who waits for another push waits here, and not with a connection.
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def find_version(self, access: Access, name: str, reference: str) -> Image | None:
        """The version with this tag, or what a digest stands for to this access token; not a rejected or
        deleted one."""
        async with self._database.read() as connection:
            if names.is_digest(reference):
                return await self._store.find_digest(connection, name, reference, access.token_id)
            version = await self._store.find_tag(connection, name, reference)
        return version if version is not None and version.was_published else None

    async def tags(self, name: str, last: str, limit: int) -> Sequence[str]:
        async with self._database.read() as connection:
            return await self._store.list_tags(connection, name, last, limit)

    async def is_on_offer(self, name: str, blob_digest: str) -> bool:
        """Whether an active version is known to have this layer."""
        async with self._database.read() as connection:
            return await self._store.is_on_offer(connection, name, blob_digest)

    async def unread_manifests(self, name: str) -> Sequence[str]:
        """Digests of active versions' manifests that were pushed before their layers were written down."""
        async with self._database.read() as connection:
            return await self._store.list_unread_manifests(connection, name)

    async def note_manifest(self, name: str, manifest: Manifest) -> None:
        """What a manifest names, before any version is made of it: nobody sees it, so it isn't audited."""
        async with self._database.change_by_system("manifest stored", audited=False) as change:
            await self._note_manifest(change, name, manifest)

    @asynccontextmanager
    async def publishing(self, publisher: Publisher, image: Image, manifest: Manifest) -> AsyncIterator[None]:
        """While the provider is given the manifest. With the end of the block the version is active.

        Raises OciError DENIED, before the block, when it is there with other content or was taken away."""
        async with self._alone("image.push", publisher) as change:
            there = await self._store.find_tag(change.connection, image.name, image.tag)
            if (conflict := push_conflict(there, image.digest)) is not None:
                raise OciError("DENIED", conflict)
            yield
            saved = await self._store.save_image(change.connection, image)
            if saved is None:
                raise OciError("DENIED", f"Version {image.tag} was deprecated meanwhile. Push a new version.")
            await self._note_manifest(change, image.name, manifest)
            _audit(change, saved, publisher)
            self._announce(change, saved)

    async def reject(self, publisher: Publisher, image: Image) -> None:
        async with self._change("image.reject", image.merchant_id) as change:
            image_id = await self._store.save_rejection(change.connection, image)
            if image_id is not None:
                self._announce(change, replace(image, image_id=image_id))
            else:  # it was published once, and stays what it is
                there = await self._store.find_tag(change.connection, image.name, image.tag)
                image_id = there.image_id if there is not None else image.image_id
            rejected = replace(image, image_id=image_id)
            _audit(change, rejected, publisher, reason=image.rejection_reason)

    async def delete(
        self, publisher: Publisher, name: str, reference: str, forget: Callable[[str], Awaitable[None]]
    ) -> bool:
        """Whether there was such a version. `forget` is told the digests that no version has any more; when
        it fails nothing is deleted."""
        async with self._alone("image.delete", publisher) as change:
            deleted = await self._store.delete_versions(change.connection, name, reference)
            for image in deleted:
                _audit(change, image, publisher)
                self._announce(change, image)
            change.nothing_to_audit()  # nothing deleted, nothing to tell
            for digest in {image.digest for image in deleted}:
                if not await self._store.is_in_use(change.connection, name, digest):
                    await forget(digest)
        return bool(deleted)

    async def resolve(self, access: Access, image: Image) -> None:
        """The access token asked for this version by its tag: the digests that it asks for next are of it."""
        now = utc_now()
        async with self._database.change_by_system("version resolved", audited=False) as change:
            await self._store.forget_resolutions(change.connection, now - _RESOLUTIONS_KEPT)
            await self._store.add_resolution(change.connection, access.token_id, image.image_id, now)

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
            change.nothing_to_audit()  # a pull that was written down before needs no second record
            if await self._store.add_pull(change.connection, pull):
                _audit(change, image, puller)
                change.publish(topics.USAGE_EVENTS, usage.consumer_id, usage)

    async def refuse_pull(self, puller: Puller, name: str, reference: str, reason: str) -> None:
        """At most once a minute for a key and image. All that isn't there counts as one image, for there is
        no end of names that somebody may try."""
        now = utc_now()
        async with self._change("image.pull_refused", UUID(puller.key.consumer_id)) as change:
            subject = name if await self._store.is_known(change.connection, name) else ""
            change.nothing_to_audit()  # what was written down within the minute needs no second record
            if await self._store.add_refusal(
                change.connection, UUID(puller.key.key_id), subject, now, now - _BETWEEN_REFUSALS
            ):
                details = {"reference": reference, "reason": reason, **_credential(puller)}
                change.audit("image", name, **details)

    @asynccontextmanager
    async def _alone(self, action: str, publisher: Publisher) -> AsyncIterator[Change]:
        """A change beside which nobody publishes or deletes in the repository, here or in another replica:
        else a version could come to name a manifest that is just being deleted."""
        token = publisher.token
        turn = self._turns.setdefault(token.service_id, asyncio.Lock())
        try:
            async with (
                asyncio.timeout(_HELD_S),
                turn,
                self._held_connections,
                self._change(action, token.merchant_id) as change,
            ):
                await self._store.lock_repository(
                    change.connection, token.service_id, token.merchant_id, token.repository
                )
                yield change
        except TimeoutError:
            raise OciError(
                "UNAVAILABLE", "Another push to this repository takes long. Try again shortly."
            ) from None

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

    async def _note_manifest(self, change: Change, name: str, manifest: Manifest) -> None:
        await self._store.save_manifest(change.connection, name, manifest.digest, manifest.blob_digests)

    def _announce(self, change: Change, image: Image) -> None:
        change.publish(topics.REGISTRY_EVENTS, str(image.service_id), changed_event(image, utc_now()))


def _audit(change: Change, image: Image, by: Publisher | Puller, **details: str) -> None:
    version = {"name": image.name, "tag": image.tag, "digest": image.digest}
    change.audit("image", image.image_id, **version, **_credential(by), **details)


def _credential(by: Publisher | Puller) -> dict[str, str]:
    """What tells which credential it was, should it have leaked."""
    if isinstance(by, Puller):
        return {"key_id": by.key.key_id, "key_prefix": by.key.key_prefix}
    return {"push_token_id": str(by.token.push_token_id), "token_prefix": by.token.token_prefix}
