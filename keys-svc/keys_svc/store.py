"""The only module that runs SQL on keys and consumers: what each query is, queries.sql says."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ams_common.projects import Member
from ams_common.queries import QueryStore, column, many, one, page, run, value
from ams_rating.price_json import price_from_json, price_to_json
from ams_rating.prices import Price

from keys_svc.access_store import AccessStore
from keys_svc.consumers import Consumer, consumer_of
from keys_svc.exposure_store import ExposureStore
from keys_svc.keys import Key, KeyName, key_of
from keys_svc.price_changes import Announcement, PriceVersion, Service
from keys_svc.secrets import Secret
from keys_svc.spend_caps import SpendCap, columns_of


def _price_of(row: Mapping[str, Any]) -> Price:
    return price_from_json(json.loads(row["price"]))


def _membership_of(row: Mapping[str, Any]) -> tuple[UUID, Member]:
    return row["project_id"], Member(row["role"], frozenset(row["service_ids"]))


def _project_cap_of(row: Mapping[str, Any]) -> SpendCap:
    return SpendCap(row["spend_cap_currency"], row["spend_cap_amount"])


def _previous_of(row: Mapping[str, Any]) -> tuple[UUID, Secret]:
    return row["key_id"], Secret(row["key_hash"], row["key_prefix"], row["ends_at"])


class Store(QueryStore, package="keys_svc"):
    """Whoever changes a consumer's keys, requests, grants, caps, terms or standing holds `lock_consumer`
    meanwhile: so a key made while its consumer is being blocked ends up blocked, snapshots have their
    versions in the order of the changes, and the limit of keys holds."""

    _add_consumer = run()
    _lock_consumer = one(row=consumer_of)
    find_consumers = many(row=consumer_of)
    set_standing = run()
    set_spend_cap = run()
    find_project_spend_cap = one(row=_project_cap_of)
    set_project_spend_cap = run()

    count_active_keys = value(int)
    _add_key = run()
    _assign_services = run()
    unassign_services = run()
    find_key = one(row=key_of)
    find_keys = many(row=key_of)
    find_seen_keys = many(row=key_of)
    find_keys_by_hash = many(row=key_of)
    _find_previous_secrets = many(row=_previous_of)
    list_keys = page(row=key_of)
    list_key_names = many(KeyName)
    list_keys_of_consumer = page(row=key_of)
    list_keys_to_write = many(row=key_of)
    live_keys = many(row=key_of)
    live_project_keys = many(row=key_of)
    revoke_key = run()
    revoke_project_keys = column(UUID)
    hand_over_keys = run()
    describe_key = run()
    set_allowed_networks = run()
    set_allowed_calls = run()
    set_disabled = run()
    keep_previous_secret = run()
    end_previous_secrets = run()
    replace_secret = run()
    set_key_spend_cap = run()
    renew_key = one(row=key_of)
    renew_keys = run()
    renew_project_keys = run()
    _memberships_of = many(row=_membership_of)

    save_service = run()
    find_service = one(Service)
    _save_price_version = run()
    find_price_before = one(row=_price_of)
    add_announcement = run()
    lock_announcement = one(Announcement)
    list_granted_consumers = column(UUID)
    advance_announcement = run()

    take_keys_with_notice_due = many(row=key_of)

    @property
    def access(self) -> AccessStore:
        """What is asked about grants and requests, in the same transaction."""
        return AccessStore(self.connection)

    @property
    def exposures(self) -> ExposureStore:
        return ExposureStore(self.connection)

    async def lock_consumer(self, consumer_id: UUID) -> Consumer:
        """The consumer, whom nobody else changes until the commit."""
        # There is no row yet of a consumer whose registration hasn't been heard of; only a row can be locked.
        await self._add_consumer(consumer_id=consumer_id)
        consumer = await self._lock_consumer(consumer_id=consumer_id)
        assert consumer is not None, "it has just been added, and consumers are never deleted"
        return consumer

    async def find_consumer(self, consumer_id: UUID) -> Consumer:
        """The consumer; one that nothing is known of yet as it will come to be."""
        found = await self.find_consumers(consumer_ids=[consumer_id])
        return found[0] if found else Consumer(consumer_id=consumer_id)

    async def memberships_of(self, user_id: UUID) -> dict[UUID, Member]:
        """What somebody is in projects, by project."""
        return dict(await self._memberships_of(user_id=user_id))

    async def add_key(self, key: Key) -> None:
        """The key and the services assigned to it, which need grants in force."""
        await self._add_key(
            key_id=key.key_id,
            key_hash=key.key_hash,
            key_prefix=key.key_prefix,
            consumer_id=key.consumer_id,
            project_id=key.project_id,
            created_by=key.created_by,
            name=key.name,
            description=key.description,
            ttl_days=key.ttl_days,
            created_at=key.created_at,
            expires_at=key.expires_at,
            allowed_networks=list(key.allowed_networks),
            is_test=key.is_test,
            **columns_of(key.spend_cap),
        )
        service_ids = [service.service_id for service in key.services]
        await self.assign_services(key, service_ids, key.created_at)

    async def assign_services(self, key: Key, service_ids: Sequence[UUID], assigned_at: datetime) -> None:
        """Those that aren't assigned yet are then; all need grants in force."""
        assigned = await self._assign_services(
            key_id=key.key_id,
            holder_id=key.holder_id,
            service_ids=list(service_ids),
            assigned_at=assigned_at,
        )
        assert assigned == len(service_ids), "the grants were looked at under the consumer's lock"

    async def find_secrets(self, key_hashes: Sequence[bytes]) -> dict[bytes, tuple[Key, Secret]]:
        """Keys by their secrets' hashes, present ones and those that were replaced, however long ago."""
        keys = await self.find_keys_by_hash(key_hashes=list(key_hashes))
        known = {key.key_hash: (key, Secret(key.key_hash, key.key_prefix, key.expires_at)) for key in keys}
        if unknown := [key_hash for key_hash in key_hashes if key_hash not in known]:
            replaced = await self._find_previous_secrets(key_hashes=unknown)
            by_id = {
                key.key_id: key for key in await self.find_keys(key_ids=[key_id for key_id, _ in replaced])
            }
            for key_id, secret in replaced:
                key = by_id[key_id]
                bounded = Secret(secret.key_hash, secret.key_prefix, min(secret.expires_at, key.expires_at))
                known[secret.key_hash] = key, bounded
        return known

    async def save_price_version(self, version: PriceVersion) -> None:
        await self._save_price_version(
            price_version_id=version.price_version_id,
            service_id=version.service_id,
            price=json.dumps(price_to_json(version.price)),
            starts_at=version.starts_at,
            canceled_at=version.canceled_at,
        )
