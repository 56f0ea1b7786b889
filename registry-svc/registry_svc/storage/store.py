"""The only module that runs SQL: what each query is, queries.sql says."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from ams_common.queries import QueryStore, column, many, maybe_value, one, page, run, value

from registry_svc.storage.rows import Image, PulledImage, PushToken, Repository, Upload


def _image(row: Mapping[str, Any]) -> Image:
    return Image(**{**row, "child_digests": tuple(row["child_digests"])})


class Store(QueryStore, package="registry_svc.storage"):
    """Whoever publishes or deletes versions of a service holds `lock_repository` meanwhile."""

    save_merchant = run()
    merchant_slug = maybe_value(str)
    find_repository = one(Repository)
    _add_repository = run()
    _lock_repository = one(Repository)

    count_active_push_tokens = value(int)
    _add_push_token = run()
    find_push_token = one(PushToken)
    find_push_token_by_hash = one(PushToken)
    list_push_tokens = page(PushToken)
    lock_push_token = one(PushToken)
    revoke_push_token = run()
    touch_push_token = run()

    _save_image = one(row=_image)
    _save_rejection = maybe_value(UUID)
    find_image = one(row=_image)
    list_images = page(row=_image)
    newest_images = many(row=_image)
    find_tag = one(row=_image)
    find_digest = one(row=_image)
    list_project_pulls = page(PulledImage)
    list_stocked_services = column(UUID)
    is_in_use = value(bool)
    is_known = value(bool)
    list_tags = column(str)
    deprecate_image = one(row=_image)
    delete_versions = many(row=_image)

    add_pull = run()
    count_pull = value(int)
    purge_pull_totals = run()
    add_resolution = run()
    purge_resolutions = run()
    add_denial = run()

    save_manifest = run()
    has_active_blob = value(bool)
    list_unread_manifests = column(str)

    add_upload = run()
    find_upload = one(Upload)
    open_upload = run()
    move_upload = run()
    end_upload = run()
    purge_uploads = run()

    async def lock_repository(self, service_id: UUID, merchant_id: UUID, name: str) -> Repository:
        """The service's repository, made under `name` if there is none; held until the commit."""
        await self._add_repository(service_id=service_id, merchant_id=merchant_id, name=name)
        repository = await self._lock_repository(service_id=service_id)
        assert repository is not None, "it was just made"
        return repository

    async def add_push_token(self, token: PushToken, token_hash: bytes) -> None:
        await self._add_push_token(
            push_token_id=token.push_token_id,
            token_hash=token_hash,
            token_prefix=token.token_prefix,
            service_id=token.service_id,
            merchant_id=token.merchant_id,
            name=token.name,
            created_at=token.created_at,
            expires_at=token.expires_at,
        )

    async def save_image(self, image: Image) -> Image | None:
        """The version as it now is; None, and nothing changed, when publishing.push_conflict says why."""
        return await self._save_image(**_columns(image))

    async def save_rejection(self, image: Image) -> UUID | None:
        """The id under which the rejection can be seen. None, and nothing changed, when the version was
        accepted once."""
        return await self._save_rejection(**_columns(image))


def _columns(image: Image) -> dict[str, Any]:
    values = asdict(image)
    del values["pulls"]  # counted, not stored
    return values
