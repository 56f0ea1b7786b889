"""The only module that runs SQL: what each query is, queries.sql says."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams_common.paging import Page, PageRequest
from ams_common.queries import QueryStore, column, many, maybe_value, one, page, run, value
from ams_rating.price_json import price_to_json
from ams_rating.prices import Price

from catalog_svc import revisions
from catalog_svc.documents import Document, text_of, words_of
from catalog_svc.invitations import Invitation
from catalog_svc.messages import service_name_of, snapshot_of
from catalog_svc.metadata import columns_of
from catalog_svc.openapi.examining import Examined
from catalog_svc.price_summaries import PriceSummary
from catalog_svc.records import (
    Merchant,
    MerchantStanding,
    PriceVersion,
    ServiceRecord,
    price_version_of,
    record_of,
)
from catalog_svc.revisions import Revision, Wanted, revision_of
from catalog_svc.slugs import service_id_in

# So many services that have all words are looked up at most; where more do, they are met along the order.
_MOST_FOUND = 1_000


class Store(QueryStore, package="catalog_svc"):
    """Whatever changes a service holds its merchant's row in share mode first, and what identity-svc tells
    of a merchant changes that row: so a snapshot never tells of a standing that has just become another,
    both sides take their locks in the same order, and snapshots have their versions in the order of the
    changes."""

    _add_unknown_merchant = run()
    _lock_merchant = one(Merchant)
    lock_service_count = run()
    count_services = value(int)
    _lock_merchant_of_service = run()
    _save_merchant = maybe_value(UUID)
    _lock_standing = one(MerchantStanding)
    set_standing = run()
    _rename_merchant_in_services = run()

    _lock_service = maybe_value(UUID)
    _insert_service = maybe_value(UUID)
    _save_service = run()
    _insert_price_version = run()
    cancel_price_version = run()
    find_price_version = one(row=price_version_of)
    list_announced_prices = many(row=price_version_of)
    list_price_versions = many(row=price_version_of)
    find_service = one(row=record_of)
    find_services = many(row=record_of)
    find_service_by_slug = one(row=record_of)
    find_service_names = many(row=service_name_of)
    _find_services_with_words = column(UUID)
    _list_services = page(row=record_of)
    _save_price_summary = run()
    renew_snapshot = run()
    renew_snapshots = run()
    list_due_snapshots = column(UUID)
    is_snapshot_due = value(bool)
    _find_snapshots = many(row=snapshot_of)
    list_active_snapshots = many(row=snapshot_of)
    list_snapshots_to_write = many(row=snapshot_of)

    _insert_revision = one(row=revision_of)
    _save_revision = run()
    find_open_revision = one(row=revision_of)
    find_revision = one(row=revision_of)
    _find_newest_revisions = many(row=revision_of)
    list_service_revisions = page(row=revision_of)
    list_pending_revisions = page(row=revision_of)

    _insert_document = run()
    find_document_text = one(row=text_of)
    delete_unused_documents = run()

    insert_invitation = run()
    lock_invitation_by_token = maybe_value(UUID)
    find_invitation = one(Invitation)
    revoke_invitation = maybe_value(UUID)
    list_invitations = page(Invitation)
    has_accepted = value(bool)
    add_viewer = run()
    list_viewed_services = column(UUID)

    async def lock_merchant(self, merchant_id: UUID) -> Merchant:
        """Holds the merchant's row, which comes to be when it isn't there."""
        await self._add_unknown_merchant(merchant_id=merchant_id)
        merchant = await self._lock_merchant(merchant_id=merchant_id)
        assert merchant is not None, "it has just been added, and merchants are never deleted"
        return merchant

    async def save_merchant(
        self, merchant_id: UUID, display_name: str, slug: str, standing_version: int
    ) -> None:
        """Keeps how the merchant is called, unless a later state of it is known; its row is held."""
        saved = await self._save_merchant(
            merchant_id=merchant_id, display_name=display_name, slug=slug, standing_version=standing_version
        )
        if saved is not None:
            await self._rename_merchant_in_services(merchant_id=merchant_id, merchant_name=display_name)

    async def lock_standing(self, merchant_id: UUID) -> MerchantStanding:
        """Holds the merchant's row, which comes to be when it isn't there; what is known of its standing."""
        await self._add_unknown_merchant(merchant_id=merchant_id)
        known = await self._lock_standing(merchant_id=merchant_id)
        assert known is not None, "it has just been added, and merchants are never deleted"
        return known

    async def list_services(
        self,
        wanted: PageRequest,
        *,
        status: str | None,
        merchant_id: UUID | None,
        patterns: Sequence[str],
        now: datetime,
    ) -> Page[ServiceRecord]:
        """A page of all services, or of a merchant's, whose texts fit all patterns."""
        service_ids = None
        # Words that few services have are met late on the way along an order. A merchant's are few anyway.
        if patterns and merchant_id is None:
            longest = max(patterns, key=len)
            found = await self._find_services_with_words(patterns=patterns, longest=longest, most=_MOST_FOUND)
            service_ids = found if len(found) < _MOST_FOUND else None
        return await self._list_services(
            wanted,
            status=status,
            merchant_id=merchant_id,
            service_ids=service_ids,
            patterns=patterns,
            now=now,
        )

    async def insert_service(
        self, record: ServiceRecord, merchant_name: str, slugs: Sequence[str]
    ) -> ServiceRecord | None:
        """The stored service under the first of `slugs` that is free; None when none is."""
        # A slug that is taken gives no row. A unique violation would end the transaction.
        for slug in slugs:
            created = await self._insert_service(
                **_content(record),
                slug=slug,
                merchant_id=record.merchant_id,
                merchant_name=merchant_name,
                type=record.type,
                now=record.created_at,
            )
            if created is not None:
                return await self.find_service(service_id=created, owner_id=None, now=record.created_at)
        return None

    async def lock_service(
        self, service_id: UUID, owner_id: UUID | None, now: datetime
    ) -> ServiceRecord | None:
        """The service as it is now, held for a change; None when there is none that `owner_id` (None:
        anybody) owns."""
        await self._lock_merchant_of_service(service_id=service_id)
        locked = await self._lock_service(service_id=service_id, owner_id=owner_id)
        # Read by a statement of its own, for the first may have waited and seen the past.
        if locked is None:
            return None
        return await self.find_service(service_id=locked, owner_id=None, now=now)

    async def save_service(self, record: ServiceRecord) -> None:
        """Writes all columns that an edit or a change of status may have changed."""
        await self._save_service(
            **_content(record),
            **_proofs(record),
            document_id=record.document.document_id if record.document is not None else None,
            rejection_reason=record.rejection_reason,
            suspension_reason=record.suspension_reason,
            published_at=record.published_at,
            updated_at=record.updated_at,
        )

    async def insert_revision(
        self, service_id: UUID, revision_id: UUID, wanted: Wanted, now: datetime
    ) -> Revision:
        """The service's next revision, pending; the service is locked, and has no other that is."""
        made = await self._insert_revision(
            service_id=service_id,
            revision_id=revision_id,
            content=revisions.content_json(wanted.content),
            changes_document=wanted.changes_document,
            document_id=wanted.document.document_id if wanted.document is not None else None,
            now=now,
        )
        assert made is not None, "an INSERT of one row gives it"
        return made

    async def save_revision(self, revision: Revision) -> None:
        """With it go documents that nothing has any more: one that is approved is saved after its service."""
        await self._save_revision(**revisions.columns_of(revision))
        await self.delete_unused_documents(service_id=revision.service_id)

    async def insert_document(
        self, service_id: UUID, document: Document, content: str, examined: Examined, base_url: str
    ) -> None:
        await self._insert_document(
            **asdict(document),
            service_id=service_id,
            content=content,
            media_type=examined.media_type,
            reference=examined.reference.SerializeToString(),
            public_content=examined.public_content,
            words=words_of(examined, base_url),
        )

    async def find_newest_revisions(self, service_ids: Sequence[UUID]) -> dict[UUID, Revision]:
        """By service, of those that have any."""
        found = await self._find_newest_revisions(service_ids=service_ids)
        return {revision.service_id: revision for revision in found}

    async def insert_price_version(self, version: PriceVersion) -> None:
        await self._insert_price_version(
            price_version_id=version.price_version_id,
            service_id=version.service_id,
            price=_json(version.price),
            starts_at=version.starts_at,
            created_at=version.created_at,
        )

    async def save_price_summary(self, service_id: UUID, summary: PriceSummary) -> None:
        """What the service's present price comes to; the service is locked."""
        await self._save_price_summary(service_id=service_id, **asdict(summary))

    async def find_service_by_id_or_slug(self, text: str, now: datetime) -> ServiceRecord | None:
        if (service_id := service_id_in(text)) is not None:
            return await self.find_service(service_id=service_id, owner_id=None, now=now)
        return await self.find_service_by_slug(slug=text, now=now)

    async def find_snapshots(self, names: Sequence[str], now: datetime) -> dict[str, ServiceSnapshot]:
        """By those of `names` (ids and slugs) that services go by; one may be there under both."""
        ids = {name: service_id for name in names if (service_id := service_id_in(name)) is not None}
        slugs = [name for name in names if name not in ids]
        found = await self._find_snapshots(service_ids=list(ids.values()), slugs=slugs, now=now)
        by_name = {name: snapshot for snapshot in found for name in (snapshot.service_id, snapshot.slug)}
        return {name: by_name[name] for name in names if name in by_name}


def _content(record: ServiceRecord) -> dict[str, object]:
    return {
        "service_id": record.service_id,
        "name": record.name,
        "description": record.description,
        "status": record.status,
        "base_url": record.base_url,
        "documentation_url": record.documentation_url,
        "version": record.version,
        "tags": record.tags,
        "rate_limit_per_minute": record.rate_limit_per_minute,
        "additional_info": record.additional_info,
        # The price stays on the row until it is a version, and must not stand in two places then.
        "draft_price": _json(record.price) if record.price_version_id is None else None,
        **asdict(record.forwarding),
        **columns_of(record.metadata),
    }


def _proofs(record: ServiceRecord) -> dict[str, object]:
    """What tells the merchant that a call came through AMS."""
    credential = record.credential
    key, previous, following = record.signing_key, record.previous_signing_key, record.next_signing_key
    return {
        "credential_kind": credential and credential.kind,
        "credential_header_name": credential and credential.header_name,
        "sealed_credential": credential and credential.sealed_value,
        "credential_set_at": credential and credential.set_at,
        "signing_key_id": key and key.signing_key_id,
        "sealed_signing_key": record.sealed_signing_key,
        "signing_key_created_at": key and key.created_at,
        "previous_signing_key_id": previous and previous.signing_key_id,
        "previous_signing_key_created_at": previous and previous.created_at,
        "next_signing_key_id": following and following.signing_key_id,
        "sealed_next_signing_key": record.sealed_next_signing_key,
        "next_signing_key_created_at": following and following.created_at,
        "next_signing_key_starts_at": following and following.starts_at,
    }


def _json(price: Price) -> str:
    return json.dumps(price_to_json(price))
