"""Versions of images: the record, and what others are told of it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.registry.v1 import registry_service_pb2 as pb
from ams.registry.v1.events_pb2 import (
    IMAGE_ACTIVE,
    IMAGE_DEPRECATED,
    IMAGE_REJECTED,
    IMAGE_STATUS_UNSPECIFIED,
    LICENSE_CONNECTED,
    LICENSE_MODEL_UNSPECIFIED,
    LICENSE_TIME_LIMITED,
    ImageChanged,
    ImageStatus,
    LicenseModel,
    RegistryEvent,
)
from ams_common.clock import to_timestamp
from ams_common.ids import uuid7

ACTIVE, REJECTED, DEPRECATED, DELETED = "active", "rejected", "deprecated", "deleted"

_STATUSES: dict[str, ImageStatus.ValueType] = {
    ACTIVE: IMAGE_ACTIVE,
    REJECTED: IMAGE_REJECTED,
    DEPRECATED: IMAGE_DEPRECATED,
}
_STATUS_WORDS = {status: word for word, status in _STATUSES.items()}
_LICENSES: dict[str | None, LicenseModel.ValueType] = {
    "connected": LICENSE_CONNECTED,
    "time_limited": LICENSE_TIME_LIMITED,
    None: LICENSE_MODEL_UNSPECIFIED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A row of images. `pulls` is counted where it is shown."""

    image_id: UUID
    service_id: UUID
    merchant_id: UUID
    name: str
    tag: str
    digest: str
    child_digests: tuple[str, ...]
    media_type: str
    size_bytes: int
    status: str
    rejection_reason: str
    license_model: str | None
    pushed_at: datetime
    pulls: int = 0

    @property
    def was_published(self) -> bool:
        """Whether it can be found; that it can be pulled only an active one's status says."""
        return self.status in (ACTIVE, DEPRECATED)


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


def status_word(status: ImageStatus.ValueType) -> str | None:
    """The database's word; None for UNSPECIFIED."""
    return _STATUS_WORDS.get(status)


def pull_command(host: str, image: Image) -> str:
    return f"docker pull {host}/{image.name}:{image.tag}"


def image_message(image: Image, host: str) -> pb.Image:
    return pb.Image(
        image_id=str(image.image_id),
        service_id=str(image.service_id),
        merchant_id=str(image.merchant_id),
        name=image.name,
        tag=image.tag,
        digest=image.digest,
        media_type=image.media_type,
        size_bytes=image.size_bytes,
        status=_STATUSES[image.status],
        rejection_reason=image.rejection_reason,
        license_model=_LICENSES[image.license_model],
        pushed_at=to_timestamp(image.pushed_at),
        pulls=image.pulls,
        pull_command=pull_command(host, image) if image.status == ACTIVE else "",
    )


def consumer_image_message(image: Image, host: str) -> pb.ConsumerImage:
    return pb.ConsumerImage(
        image_id=str(image.image_id),
        service_id=str(image.service_id),
        name=image.name,
        tag=image.tag,
        digest=image.digest,
        size_bytes=image.size_bytes,
        license_model=_LICENSES[image.license_model],
        pushed_at=to_timestamp(image.pushed_at),
        pull_command=pull_command(host, image),
    )


def changed_event(image: Image, now: datetime) -> RegistryEvent:
    changed = ImageChanged(
        image_id=str(image.image_id),
        service_id=str(image.service_id),
        merchant_id=str(image.merchant_id),
        name=image.name,
        tag=image.tag,
        digest=image.digest,
        status=_STATUSES.get(image.status, IMAGE_STATUS_UNSPECIFIED),
        deleted=image.status == DELETED,
    )
    return RegistryEvent(event_id=str(uuid7()), occurred_at=to_timestamp(now), image_changed=changed)
