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
        """Begins an upload; returns its session."""

    async def append(self, name: str, session: str, body: AsyncIterator[bytes]) -> str:
        """Adds what `body` yields; returns the session to go on with. Raises RefusedByProviderError."""

    async def find_upload(self, name: str, session: str) -> tuple[str, int] | None:
        """Returns the session to go on with and how many bytes are there; None when the upload is gone, or
        won't go on from this session. The protocol names the last byte's number, and 0 for an empty upload
        too: an upload of one byte is therefore told as 0 bytes."""

    async def finish_upload(self, name: str, session: str, digest: str) -> None:
        """Makes the upload a blob. Raises RefusedByProviderError DIGEST_INVALID."""

    async def cancel_upload(self, name: str, session: str) -> None:
        """Throws away what was uploaded. An upload that is gone already is no error."""

    async def mount_blob(self, name: str, digest: str, source: str) -> str | None:
        """Makes a blob of `source` one of `name` too; None when done, else the session of an upload: also
        when the provider won't."""

    async def find_blob(self, name: str, digest: str) -> int | None:
        """Returns the blob's size in bytes; None when it isn't there."""

    def open_blob(
        self, name: str, digest: str, byte_range: str = ""
    ) -> AbstractAsyncContextManager[OpenBlob | None]:
        """Opens the blob's content; gives None when it isn't there. `byte_range` is a Range header."""

    async def put_manifest(self, name: str, reference: str, media_type: str, body: bytes) -> None:
        """Stores the manifest under its digest or a tag. Raises RefusedByProviderError when a blob that
        it names is missing."""

    async def find_manifest(self, name: str, digest: str) -> StoredManifest | None:
        """Returns the manifest with this digest; None when it isn't there."""

    async def delete_manifest(self, name: str, digest: str) -> None:
        """Deletes the manifest and its tags. One that is gone already is no error."""
