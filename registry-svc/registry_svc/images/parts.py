"""Which layers and configurations a consumer may have: those of active versions."""

from registry_svc.images import manifests
from registry_svc.images.manifests import Manifest, ManifestError
from registry_svc.images.publishing import Ledger
from registry_svc.providers.provider import ImageRegistryProvider


class Parts:
    """What the manifests of active versions name."""

    def __init__(self, ledger: Ledger, provider: ImageRegistryProvider) -> None:
        self._ledger = ledger
        self._provider = provider

    async def is_on_offer(self, name: str, digest: str) -> bool:
        """Whether an active version has the layer. Manifests that were pushed before their layers were
        written down are read at the provider, each once."""
        if await self._ledger.is_on_offer(name, digest):
            return True
        unread = await self._ledger.unread_manifests(name)
        for manifest_digest in unread:
            await self._ledger.note_manifest(name, await self._read(name, manifest_digest))
        return bool(unread) and await self._ledger.is_on_offer(name, digest)

    async def _read(self, name: str, digest: str) -> Manifest:
        """One that is gone, or that wouldn't be accepted any more, names nothing."""
        stored = await self._provider.find_manifest(name, digest)
        try:
            if stored is not None:
                return manifests.check_manifest(stored.media_type, stored.body)
        except ManifestError:
            pass
        return Manifest(digest, "", 0, (), (), manifests.CONNECTED)
