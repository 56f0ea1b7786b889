"""What there is to pull: versions by tag or digest, and their layers."""

from collections.abc import Sequence
from contextlib import suppress

from ams_common.database import Database

from registry_svc import names
from registry_svc.auth.access_tokens import Access
from registry_svc.images import manifests
from registry_svc.images.manifests import Manifest, ManifestError
from registry_svc.images.publishing import ImagePublisher
from registry_svc.providers.provider import ImageRegistryProvider
from registry_svc.storage.rows import Image
from registry_svc.storage.store import Store


class PublishedImages:
    """Finds versions and layers; neither rejected nor deleted ones are there."""

    def __init__(
        self, database: Database[Store], publisher: ImagePublisher, provider: ImageRegistryProvider
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._provider = provider

    async def find_version(self, access: Access, name: str, reference: str) -> Image | None:
        """Finds the version with this tag, or what a digest stands for to this access token."""
        async with self._database.read() as store:
            if names.is_digest(reference):
                return await store.find_digest(name=name, digest=reference, token_id=access.token_id)
            version = await store.find_tag(name=name, tag=reference)
        return version if version is not None and version.was_published else None

    async def list_tags(self, name: str, last: str, limit: int) -> Sequence[str]:
        """Lists the tags of active versions after `last`, in the order of their bytes."""
        async with self._database.read() as store:
            return await store.list_tags(name=name, last=last, row_limit=limit)

    async def has_active_blob(self, name: str, digest: str) -> bool:
        """Whether an active version has the layer or configuration.

        Manifests that were pushed before their layers were written down are read at the provider, each once.
        Raises ProviderError.
        """
        async with self._database.read() as store:
            if await store.has_active_blob(name=name, blob_digest=digest):
                return True
            unread = await store.list_unread_manifests(name=name)
        for manifest_digest in unread:
            # One that is gone, or that wouldn't be accepted any more, names nothing.
            manifest = Manifest(manifest_digest, "", 0, (), (), manifests.CONNECTED)
            stored = await self._provider.find_manifest(name, manifest_digest)
            if stored is not None:
                with suppress(ManifestError):
                    manifest = manifests.check_manifest(stored.media_type, stored.body)
            await self._publisher.note_manifest(name, manifest)
        if not unread:
            return False
        async with self._database.read() as store:
            return await store.has_active_blob(name=name, blob_digest=digest)
