"""What a pushed manifest must be (FR2-MERCH-02: naming, version, licensing model). Pure.

The image manifests and indexes of OCI image-spec 1.1, and docker's older forms of both.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from registry_svc import names
from registry_svc.providers.provider import INDEX_TYPES, MEDIA_TYPES

MAX_DESCRIPTORS = 512
# A manifest may say under this annotation how the image is licensed.
LICENSE_ANNOTATION = "io.ams.license-model"
CONNECTED, TIME_LIMITED = "connected", "time_limited"
LICENSE_MODELS = (CONNECTED, TIME_LIMITED)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says. `size_bytes` is its own size and that of all it names; 0 for an index.

    An index names children, an image blobs: its configuration and layers."""

    digest: str
    media_type: str
    size_bytes: int
    child_digests: tuple[str, ...]
    blob_digests: tuple[str, ...]
    license_model: str | None


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
    descriptors = list(_descriptors(document, is_index))
    size_bytes = 0 if is_index else len(body) + sum(descriptor["size"] for descriptor in descriptors)
    digests = tuple(descriptor["digest"] for descriptor in descriptors)
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
    """The request's media type, which the document's own must not contradict."""
    sent = sent.partition(";")[0].strip().lower()
    own = document.get("mediaType", sent)
    if sent not in MEDIA_TYPES:
        raise _invalid(f'the media type "{sent[:100]}" is not one that AMS takes')
    if own != sent:
        raise _invalid("its mediaType is not that of the request")
    return sent


def _descriptors(document: dict[str, Any], is_index: bool) -> Iterator[dict[str, Any]]:
    """Yields the checked descriptors of what the manifest names."""
    lists = [document.get("manifests")] if is_index else [[document.get("config")], document.get("layers")]
    for listed in lists:
        if not isinstance(listed, list) or len(listed) > MAX_DESCRIPTORS:
            raise _invalid(f"it needs a list of at most {MAX_DESCRIPTORS} parts")
        for descriptor in listed:
            yield _checked(descriptor)


def _checked(descriptor: Any) -> dict[str, Any]:
    if not isinstance(descriptor, dict):
        raise _invalid("a part of it is not a descriptor")
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if not (isinstance(digest, str) and names.is_digest(digest)):
        raise _invalid("a part of it has no sha256 digest")
    # To Python true is a number. The bound keeps the sum of all sizes within a bigint.
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**50:
        raise _invalid("a part of it has no size")
    # Clients would fetch such a layer from wherever it says, past us and without a grant.
    if descriptor.get("urls"):
        raise _invalid("its layers must be pushed, not linked by urls")
    return descriptor


def _license_model(document: dict[str, Any]) -> str:
    """What the annotation says; an image without one reports its usage to AMS."""
    annotations = document.get("annotations") or {}
    model = annotations.get(LICENSE_ANNOTATION, CONNECTED) if isinstance(annotations, dict) else None
    if model not in LICENSE_MODELS:
        raise ManifestError(
            "DENIED", f"The annotation {LICENSE_ANNOTATION} must be one of {', '.join(LICENSE_MODELS)}."
        )
    return str(model)


def _invalid(reason: str) -> ManifestError:
    return ManifestError("MANIFEST_INVALID", f"The manifest can't be accepted: {reason}.")
