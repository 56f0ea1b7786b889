"""The only module that runs SQL, with store_uploads. Each method is the query of its name."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from ams_common.paging import Page, PageRequest

from registry_svc.auth.push_tokens import PushToken
from registry_svc.images.versions import Image
from registry_svc.storage.uploads import UploadStore


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a service's images lie."""

    service_id: UUID
    merchant_id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A consumer's pull of a version. `pull_id` is also its usage event's id."""

    pull_id: UUID
    token_id: UUID
    image_id: UUID
    digest: str
    consumer_id: UUID
    key_id: UUID
    pulled_at: datetime


class Store(UploadStore):
    """Every method works within the transaction of the connection that it is given."""

    async def save_merchant(self, connection: asyncpg.Connection, merchant_id: UUID, slug: str) -> None:
        await self._queries.run(connection, "save_merchant", merchant_id=merchant_id, slug=slug)

    async def merchant_slug(self, connection: asyncpg.Connection, merchant_id: UUID) -> str | None:
        slug: str | None = await self._queries.value(connection, "merchant_slug", merchant_id=merchant_id)
        return slug

    async def lock_repository(
        self, connection: asyncpg.Connection, service_id: UUID, merchant_id: UUID, name: str
    ) -> Repository:
        """The service's repository, made under `name` if there is none; held until the commit."""
        await self._queries.run(
            connection, "add_repository", service_id=service_id, merchant_id=merchant_id, name=name
        )
        row = await self._queries.one(connection, "lock_repository", service_id=service_id)
        assert row is not None, "it was just made"
        return Repository(**row)

    async def find_repository(self, connection: asyncpg.Connection, name: str) -> Repository | None:
        row = await self._queries.one(connection, "find_repository", name=name)
        return Repository(**row) if row is not None else None

    async def count_active_push_tokens(
        self, connection: asyncpg.Connection, service_id: UUID, now: datetime
    ) -> int:
        return int(
            await self._queries.value(connection, "count_active_push_tokens", service_id=service_id, now=now)
        )

    async def add_push_token(
        self, connection: asyncpg.Connection, token: PushToken, token_hash: bytes
    ) -> None:
        await self._queries.run(
            connection,
            "add_push_token",
            push_token_id=token.push_token_id,
            token_hash=token_hash,
            token_prefix=token.token_prefix,
            service_id=token.service_id,
            merchant_id=token.merchant_id,
            name=token.name,
            created_at=token.created_at,
            expires_at=token.expires_at,
        )

    async def find_push_token(self, connection: asyncpg.Connection, push_token_id: UUID) -> PushToken | None:
        row = await self._queries.one(connection, "find_push_token", push_token_id=push_token_id)
        return _push_token(row)

    async def find_push_token_by_hash(
        self, connection: asyncpg.Connection, token_hash: bytes
    ) -> PushToken | None:
        row = await self._queries.one(connection, "find_push_token_by_hash", token_hash=token_hash)
        return _push_token(row)

    async def lock_push_token(
        self, connection: asyncpg.Connection, push_token_id: UUID, merchant_id: UUID
    ) -> PushToken | None:
        row = await self._queries.one(
            connection, "lock_push_token", push_token_id=push_token_id, merchant_id=merchant_id
        )
        return _push_token(row)

    async def list_push_tokens(
        self,
        connection: asyncpg.Connection,
        wanted: PageRequest,
        merchant_id: UUID,
        *,
        service_id: UUID | None,
    ) -> Page[PushToken]:
        """Newest first."""
        page = await self._queries.page(
            connection, "list_push_tokens", wanted, merchant_id=merchant_id, service_id=service_id
        )
        return page.map(lambda row: PushToken(**row))

    async def revoke_push_token(
        self, connection: asyncpg.Connection, push_token_id: UUID, revoked_at: datetime
    ) -> None:
        await self._queries.run(
            connection, "revoke_push_token", push_token_id=push_token_id, revoked_at=revoked_at
        )

    async def touch_push_token(
        self, connection: asyncpg.Connection, push_token_id: UUID, used_at: datetime
    ) -> None:
        await self._queries.run(connection, "touch_push_token", push_token_id=push_token_id, used_at=used_at)

    async def save_image(self, connection: asyncpg.Connection, image: Image) -> Image | None:
        """The version as it now is; None, and nothing changed, when images.push_conflict says why."""
        values = asdict(image)
        del values["pulls"]
        row = await self._queries.one(connection, "save_image", **values)
        return _image(row)

    async def save_rejection(self, connection: asyncpg.Connection, image: Image) -> UUID | None:
        """The id under which the rejection can be seen. None, and nothing changed, when the version was
        accepted once."""
        values = asdict(image)
        del values["pulls"]
        image_id: UUID | None = await self._queries.value(connection, "save_rejection", **values)
        return image_id

    async def find_image(
        self, connection: asyncpg.Connection, image_id: UUID, merchant_id: UUID | None
    ) -> Image | None:
        """`merchant_id`: whose it must be; None for anybody's."""
        row = await self._queries.one(connection, "find_image", image_id=image_id, merchant_id=merchant_id)
        return _image(row)

    async def list_images(
        self,
        connection: asyncpg.Connection,
        wanted: PageRequest,
        *,
        merchant_id: UUID | None = None,
        service_ids: Sequence[UUID] | None = None,
        status: str | None = None,
    ) -> Page[Image]:
        """Newest first. None lets all through."""
        page = await self._queries.page(
            connection,
            "list_images",
            wanted,
            merchant_id=merchant_id,
            service_ids=None if service_ids is None else list(service_ids),
            status=status,
        )
        return page.map(_image_of)

    async def list_stocked_services(
        self, connection: asyncpg.Connection, service_ids: Sequence[UUID]
    ) -> list[UUID]:
        """Those among `service_ids` that have an active image."""
        rows = await self._queries.many(connection, "list_stocked_services", service_ids=list(service_ids))
        return [row["service_id"] for row in rows]

    async def find_tag(self, connection: asyncpg.Connection, name: str, tag: str) -> Image | None:
        """The version with this tag, whatever became of it."""
        return _image(await self._queries.one(connection, "find_tag", name=name, tag=tag))

    async def find_digest(
        self, connection: asyncpg.Connection, name: str, digest: str, token_id: UUID
    ) -> Image | None:
        """The version that has the digest or names it in its index, accepted and not deleted.

        Where several do it is the one that the access token is pulling: for a part of an index what it has
        pulled of already, else what it asked for by tag last; else an active one, the newest."""
        row = await self._queries.one(connection, "find_digest", name=name, digest=digest, token_id=token_id)
        return _image(row)

    async def is_in_use(self, connection: asyncpg.Connection, name: str, digest: str) -> bool:
        """Whether a version has the digest or names it."""
        return bool(await self._queries.value(connection, "is_in_use", name=name, digest=digest))

    async def is_known(self, connection: asyncpg.Connection, name: str) -> bool:
        """Whether anything was ever pushed under this name."""
        return bool(await self._queries.value(connection, "is_known", name=name))

    async def list_tags(
        self, connection: asyncpg.Connection, name: str, last: str, row_limit: int
    ) -> list[str]:
        """Active versions after `last`, in the order of their bytes."""
        rows = await self._queries.many(connection, "list_tags", name=name, last=last, row_limit=row_limit)
        return [row["tag"] for row in rows]

    async def deprecate_image(
        self, connection: asyncpg.Connection, image_id: UUID, merchant_id: UUID
    ) -> Image | None:
        """The image as it now is; None when it isn't active, or isn't the merchant's."""
        row = await self._queries.one(
            connection, "deprecate_image", image_id=image_id, merchant_id=merchant_id
        )
        return _image(row)

    async def delete_versions(self, connection: asyncpg.Connection, name: str, reference: str) -> list[Image]:
        """The versions with this tag or digest, now deleted."""
        rows = await self._queries.many(connection, "delete_versions", name=name, reference=reference)
        return [_image_of(row) for row in rows]

    async def add_pull(self, connection: asyncpg.Connection, pull: Pull) -> bool:
        """False when this access token's pull of the version is there already."""
        return await self._queries.run(connection, "add_pull", **asdict(pull)) == 1

    async def add_resolution(
        self, connection: asyncpg.Connection, token_id: UUID, image_id: UUID, resolved_at: datetime
    ) -> None:
        await self._queries.run(
            connection, "add_resolution", token_id=token_id, image_id=image_id, resolved_at=resolved_at
        )

    async def forget_resolutions(self, connection: asyncpg.Connection, before: datetime) -> None:
        await self._queries.run(connection, "forget_resolutions", before=before)

    async def add_refusal(
        self, connection: asyncpg.Connection, key_id: UUID, name: str, refused_at: datetime, before: datetime
    ) -> bool:
        """False when the last one was not `before`."""
        values = {"key_id": key_id, "name": name, "refused_at": refused_at, "before": before}
        return await self._queries.run(connection, "add_refusal", **values) == 1

    async def save_manifest(
        self, connection: asyncpg.Connection, name: str, digest: str, blob_digests: Sequence[str]
    ) -> None:
        await self._queries.run(
            connection, "save_manifest", name=name, digest=digest, blob_digests=list(blob_digests)
        )

    async def is_on_offer(self, connection: asyncpg.Connection, name: str, blob_digest: str) -> bool:
        """Whether an active version has this layer or configuration."""
        return bool(await self._queries.value(connection, "is_on_offer", name=name, blob_digest=blob_digest))

    async def list_unread_manifests(self, connection: asyncpg.Connection, name: str) -> list[str]:
        """The digests of active versions of which nobody wrote down the layers."""
        rows = await self._queries.many(connection, "list_unread_manifests", name=name)
        return [row["digest"] for row in rows]


def _push_token(row: asyncpg.Record | None) -> PushToken | None:
    return PushToken(**row) if row is not None else None


def _image(row: asyncpg.Record | None) -> Image | None:
    return _image_of(row) if row is not None else None


def _image_of(row: Mapping[str, Any]) -> Image:
    return Image(**{**row, "child_digests": tuple(row["child_digests"])})
