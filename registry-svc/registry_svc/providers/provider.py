"""What stores the images: the one way to a registry product (FR2-MERCH-02 "Registry Abstraction").

Its PushImage is start_upload … put_manifest, GetImageMetadata is find_manifest and find_blob, and
RevokeAccess is delete_manifest. ValidateImage and GeneratePullToken are ours for every provider
(images/manifests, auth/access_tokens), for no provider ever meets our clients.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
IMAGE_TYPES = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
INDEX_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
MEDIA_TYPES = IMAGE_TYPES | INDEX_TYPES


class ProviderError(Exception):
    """The provider is away, or answered what it never should."""


class RefusedByProviderError(Exception):
    """The provider can't do this with what the client sent. `code` is the OCI specification's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it lies in the registry."""

    digest: str
    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A blob, or the part of it that a Range header asked for."""

    status: int  # 200, 206 or 416
    length: int
    content_range: str  # "" for the whole
    chunks: AsyncIterator[bytes]


class ImageRegistryProvider(Protocol):
    """Names are image names, digests "sha256:…". Sessions are the provider's own words for an upload: an
    upload goes on with the newest one only. All methods raise ProviderError."""

    async def start_upload(self, name: str) -> str:
        """The session of a new upload."""

    async def append(self, name: str, session: str, body: AsyncIterator[bytes]) -> str:
        """Adds what `body` yields; gives the session to go on with. Raises RefusedByProviderError."""

    async def find_upload(self, name: str, session: str) -> tuple[str, int] | None:
        """The session to go on with and the bytes that are there (one reads as none); None when the upload
        is gone, or won't go on from this session."""

    async def finish_upload(self, name: str, session: str, digest: str) -> None:
        """Makes the upload a blob. Raises RefusedByProviderError DIGEST_INVALID."""

    async def cancel_upload(self, name: str, session: str) -> None:
        """What was uploaded is thrown away. An upload that is gone already is no error."""

    async def mount_blob(self, name: str, digest: str, source: str) -> str | None:
        """Makes a blob of `source` one of `name` too; None when done, else the session of an upload: also
        when the provider won't."""

    async def find_blob(self, name: str, digest: str) -> int | None:
        """The blob's size in bytes, or None."""

    def open_blob(
        self, name: str, digest: str, byte_range: str = ""
    ) -> AbstractAsyncContextManager[OpenBlob | None]:
        """The blob's content, or None. `byte_range` is a Range header."""

    async def put_manifest(self, name: str, reference: str, media_type: str, body: bytes) -> None:
        """Stores the manifest under its digest or a tag. Raises RefusedByProviderError when a blob that
        it names is missing."""

    async def find_manifest(self, name: str, digest: str) -> StoredManifest | None:
        """The manifest, or None."""

    async def delete_manifest(self, name: str, digest: str) -> None:
        """Deletes the manifest and its tags. One that is gone already is no error."""
