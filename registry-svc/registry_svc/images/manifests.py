"""What a pushed manifest must be (PRD FR2-MERCH-02: naming, version, licensing model). Pure.

The image manifests and indexes of OCI image-spec 1.1, and docker's older forms of both.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from registry_svc import names

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_PARTS = 512

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

# A manifest may say under this annotation how the image is licensed.
LICENSE_ANNOTATION = "io.ams.license-model"
CONNECTED, TIME_LIMITED = "connected", "time_limited"
LICENSE_MODELS = (CONNECTED, TIME_LIMITED)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that may be stored. `size_bytes` is its own and that of all it names; 0 for an index.

    An index names children, an image blobs: its configuration and layers."""

    digest: str
    media_type: str
    size_bytes: int
    child_digests: tuple[str, ...]
    blob_digests: tuple[str, ...]
    license_model: str


class ManifestError(Exception):
    """The manifest can't be accepted; the message tells the merchant why.

    MANIFEST_INVALID and TAG_INVALID let clients try the same again in other formats: what no format can
    mend is DENIED.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check_tag(tag: str) -> None:
    """Raises ManifestError DENIED unless it is a version."""
    if not names.is_version(tag):
        raise ManifestError(
            "DENIED", f'The tag "{tag}" is not a semantic version. Push a version such as 1.4.0 instead.'
        )


def check_manifest(media_type: str, body: bytes) -> Manifest:
    """Raises ManifestError MANIFEST_INVALID, or DENIED for a licensing model that there isn't."""
    document = _document(body)
    if document.get("schemaVersion") != 2:
        raise _invalid("schemaVersion must be 2: use a newer docker, podman or skopeo")
    media_type = _media_type(media_type, document)
    is_index = media_type in INDEX_TYPES
    parts = list(_parts(document, is_index))
    size_bytes = 0 if is_index else len(body) + sum(part["size"] for part in parts)
    digests = tuple(part["digest"] for part in parts)
    return Manifest(
        digest=names.digest_of(body),
        media_type=media_type,
        size_bytes=size_bytes,
        child_digests=digests if is_index else (),
        blob_digests=() if is_index else digests,
        license_model=_license_model(document),
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _invalid("it is not JSON") from None
    if not isinstance(document, dict):
        raise _invalid("it is not a JSON object")
    return document


def _media_type(sent: str, document: dict[str, Any]) -> str:
    """The request's, which the document's own must not contradict."""
    sent = sent.partition(";")[0].strip().lower()
    own = document.get("mediaType", sent)
    if sent not in MEDIA_TYPES:
        raise _invalid(f'the media type "{sent[:100]}" is not one that AMS takes')
    if own != sent:
        raise _invalid("its mediaType is not that of the request")
    return sent


def _parts(document: dict[str, Any], is_index: bool) -> Iterator[dict[str, Any]]:
    """The descriptors of what it names, checked."""
    lists = [document.get("manifests")] if is_index else [[document.get("config")], document.get("layers")]
    for parts in lists:
        if not isinstance(parts, list) or len(parts) > MAX_PARTS:
            raise _invalid(f"it needs a list of at most {MAX_PARTS} parts")
        for part in parts:
            yield _checked_part(part)


def _checked_part(part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise _invalid("a part of it is not a descriptor")
    digest, size = part.get("digest"), part.get("size")
    if not (isinstance(digest, str) and names.is_digest(digest)):
        raise _invalid("a part of it has no sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**50:
        raise _invalid("a part of it has no size")
    if part.get("urls"):
        raise _invalid("its layers must be pushed, not linked by urls")
    return part


def _license_model(document: dict[str, Any]) -> str:
    """The annotation's; an image without one reports its usage to AMS."""
    annotations = document.get("annotations") or {}
    model = annotations.get(LICENSE_ANNOTATION, CONNECTED) if isinstance(annotations, dict) else None
    if model not in LICENSE_MODELS:
        raise ManifestError(
            "DENIED", f"The annotation {LICENSE_ANNOTATION} must be one of {', '.join(LICENSE_MODELS)}."
        )
    return str(model)


def _invalid(reason: str) -> ManifestError:
    return ManifestError("MANIFEST_INVALID", f"The manifest can't be accepted: {reason}.")
