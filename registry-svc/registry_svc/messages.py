"""What the registry tells others of its rows: proto messages. Pure."""

from datetime import datetime

from ams.registry.v1 import project_image_service_pb2 as project_pb
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

from registry_svc.auth.push_tokens import status_of
from registry_svc.storage.rows import (
    ACTIVE,
    DELETED,
    DEPRECATED,
    REJECTED,
    Image,
    PulledImage,
    PushToken,
)

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


def status_word(status: ImageStatus.ValueType) -> str | None:
    """Gives the word that images.status has for it; None for UNSPECIFIED."""
    return _STATUS_WORDS.get(status)


def image_message(image: Image, host: str) -> pb.Image:
    """Shows an image as its merchant and admins see it; `host` stands before its name in docker's
    commands."""
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
        pull_command=_pull_command(host, image) if image.status == ACTIVE else "",
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
        pull_command=_pull_command(host, image),
    )


def project_pulls_message(pulled: PulledImage) -> project_pb.ProjectPulls:
    return project_pb.ProjectPulls(
        image_id=str(pulled.image_id),
        service_id=str(pulled.service_id),
        name=pulled.name,
        tag=pulled.tag,
        status=_STATUSES.get(pulled.status, IMAGE_STATUS_UNSPECIFIED),
        pulls=pulled.pulls,
        last_pulled_at=to_timestamp(pulled.last_pulled_at),
        key_ids=map(str, pulled.key_ids),
    )


def image_event(image: Image, now: datetime) -> RegistryEvent:
    """Tells the version's whole present state, for registry.events."""
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


def push_token_message(token: PushToken, now: datetime) -> pb.PushToken:
    return pb.PushToken(
        push_token_id=str(token.push_token_id),
        service_id=str(token.service_id),
        repository=token.repository,
        name=token.name,
        token_prefix=token.token_prefix,
        status=status_of(token, now),
        created_at=to_timestamp(token.created_at),
        expires_at=to_timestamp(token.expires_at),
        revoked_at=to_timestamp(token.revoked_at),
        last_used_at=to_timestamp(token.last_used_at),
    )


def _pull_command(host: str, image: Image) -> str:
    return f"docker pull {host}/{image.name}:{image.tag}"
