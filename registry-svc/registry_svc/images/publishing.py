"""Publishing and deleting versions: the version, its audit record and its event in one transaction, with
the provider's part in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID
from weakref import WeakValueDictionary

from ams_common import topics
from ams_common.clock import utc_now
from ams_common.database import Change, Database
from ams_common.ids import uuid7

from registry_svc.auth.errors import BusyError, PushDeniedError
from registry_svc.auth.principals import Publisher
from registry_svc.images.audit import audit_image, change_by
from registry_svc.images.manifests import Manifest
from registry_svc.messages import image_event
from registry_svc.storage.rows import ACTIVE, DELETED, REJECTED, Image
from registry_svc.storage.store import Store

# Pushes and deletions hold a connection while the provider works: some must be left for everything else.
_MAX_HELD_CONNECTIONS = 4
_MAX_HELD_S = 60


class ImagePublisher:
    """Makes versions known, and takes them away."""

    def __init__(self, database: Database[Store]) -> None:
        self._database = database
        self._held_connections = asyncio.Semaphore(_MAX_HELD_CONNECTIONS)
        # By service: who waits for another push waits here, and not with a connection.
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def publishing(
        self, publisher: Publisher, name: str, tag: str, manifest: Manifest
    ) -> AsyncIterator[None]:
        """Holds the repository while the block gives the manifest to the provider; then the version is
        active.

        Raises PushDeniedError, before the block, when it is there with other content or was taken away;
        BusyError when another push takes too long."""
        image = _image(publisher, name, tag, manifest, ACTIVE)
        async with self._repository_held("image.push", publisher) as change:
            there = await change.store.find_tag(name=name, tag=tag)
            if (conflict := push_conflict(there, manifest.digest)) is not None:
                raise PushDeniedError(conflict)
            yield
            # Deprecating is an RPC, and doesn't wait for the repository.
            saved = await change.store.save_image(image)
            if saved is None:
                raise PushDeniedError(f"Version {tag} was deprecated meanwhile. Push a new version.")
            await change.store.save_manifest(
                name=name, digest=manifest.digest, blob_digests=manifest.blob_digests
            )
            audit_image(change, saved, publisher)
            _announce(change, saved)

    async def note_manifest(self, name: str, manifest: Manifest) -> None:
        """Keeps what a manifest names before any version is made of it: nobody sees it, so it isn't
        audited."""
        async with self._database.change_by_system("manifest stored", audited=False) as change:
            await change.store.save_manifest(
                name=name, digest=manifest.digest, blob_digests=manifest.blob_digests
            )

    async def reject(
        self, publisher: Publisher, name: str, tag: str, manifest: Manifest, reason: str
    ) -> None:
        """Shows the merchant in AMS why its push was rejected; a version that was published stays."""
        image = _image(publisher, name, tag, manifest, REJECTED, reason)
        async with change_by(self._database, "image.reject", publisher) as change:
            image_id = await change.store.save_rejection(image)
            if image_id is not None:
                _announce(change, replace(image, image_id=image_id))
            else:  # it was published once, and stays what it is
                there = await change.store.find_tag(name=name, tag=tag)
                image_id = there.image_id if there is not None else image.image_id
            audit_image(change, replace(image, image_id=image_id), publisher, reason=reason)

    async def delete(
        self,
        publisher: Publisher,
        name: str,
        reference: str,
        delete_manifest: Callable[[str], Awaitable[None]],
    ) -> bool:
        """Deletes the versions with this tag or digest; false when there was none. `delete_manifest` is
        called with each digest that no version has any more; when it fails nothing is deleted. Raises
        BusyError."""
        async with self._repository_held("image.delete", publisher) as change:
            # The rows before the provider: when it fails they are rolled back. The other way round a version
            # could be left that names what is gone.
            deleted = await change.store.delete_versions(name=name, reference=reference)
            for image in deleted:
                audit_image(change, image, publisher)
                _announce(change, image)
            change.nothing_to_audit()  # where nothing was deleted
            for digest in {image.digest for image in deleted}:
                if not await change.store.is_in_use(name=name, digest=digest):
                    await delete_manifest(digest)
        return bool(deleted)

    @asynccontextmanager
    async def _repository_held(self, action: str, publisher: Publisher) -> AsyncIterator[Change[Store]]:
        """A change beside which nobody publishes or deletes in the repository, here or in another replica:
        else a version could come to name a manifest that is just being deleted."""
        token = publisher.token
        turn = self._turns.setdefault(token.service_id, asyncio.Lock())
        try:
            async with (
                # Bounds the wait and the provider's part: else one push that hangs stops all later ones.
                asyncio.timeout(_MAX_HELD_S),
                turn,
                self._held_connections,
                change_by(self._database, action, publisher) as change,
            ):
                await change.store.lock_repository(token.service_id, token.merchant_id, token.repository)
                yield change
        except TimeoutError:
            raise BusyError("Another push to this repository takes long. Try again shortly.") from None


def push_conflict(there: Image | None, digest: str) -> str | None:
    """Why the version that is `there` can't be pushed with this digest; None when it can. What was published
    once names one digest for ever, and what its merchant took away doesn't come back."""
    if there is None or there.status == REJECTED or (there.status == ACTIVE and there.digest == digest):
        return None
    version = f"Version {there.tag} of {there.name}"
    if there.status == ACTIVE:
        return f"{version} is there already with other content. Push a new version."
    word = "deleted" if there.status == DELETED else "deprecated"
    return f"{version} was {word}, which is for good. Push a new version."


def _image(
    publisher: Publisher, name: str, tag: str, manifest: Manifest, status: str, reason: str = ""
) -> Image:
    return Image(
        image_id=uuid7(),
        service_id=publisher.token.service_id,
        merchant_id=publisher.token.merchant_id,
        name=name,
        tag=tag,
        digest=manifest.digest,
        child_digests=manifest.child_digests,
        media_type=manifest.media_type,
        size_bytes=manifest.size_bytes,
        status=status,
        rejection_reason=reason,
        license_model=manifest.license_model,
        pushed_at=utc_now(),
    )


def _announce(change: Change[Store], image: Image) -> None:
    change.publish(topics.REGISTRY_EVENTS, str(image.service_id), image_event(image, utc_now()))
