"""The rows of the registry's tables, as the store gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

# What images.status may hold.
ACTIVE, REJECTED, DEPRECATED, DELETED = "active", "rejected", "deprecated", "deleted"


@dataclass(frozen=True, slots=True)
class Repository:
    """The place in the registry where a service's images lie."""

    service_id: UUID
    merchant_id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PushToken:
    """A row of push_tokens, with the name of the repository that it opens."""

    push_token_id: UUID
    token_prefix: str
    service_id: UUID
    merchant_id: UUID
    name: str
    repository: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A row of images: one version of an image. `pulls` is counted only by queries whose result is shown."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A consumer's pull of a version. `pull_id` is also its usage event's id."""

    pull_id: UUID
    token_id: UUID
    image_id: UUID
    digest: str
    consumer_id: UUID
    key_id: UUID
    project_id: UUID | None
    pulled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """A version, and how often a project has pulled it, with which keys."""

    image_id: UUID
    service_id: UUID
    name: str
    tag: str
    status: str
    pulls: int
    last_pulled_at: datetime
    key_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload under way: how to go on with the provider, and how much is there."""

    upload_id: UUID
    name: str
    session: str
    size_bytes: int = 0
    is_open: bool = False  # a request adds to it, or was killed while it did
