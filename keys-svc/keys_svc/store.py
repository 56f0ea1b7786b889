"""The only module that runs SQL: what each query is, queries.sql says."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ams_common.queries import QueryStore, column, many, one, page, run, value
from ams_rating.price_json import price_from_json, price_to_json
from ams_rating.prices import Price

from keys_svc.access_requests import AccessRequest
from keys_svc.consumers import Consumer, consumer_of
from keys_svc.keys import Key, KeyName, key_of
from keys_svc.price_changes import Announcement, PriceVersion, Service
from keys_svc.spend_caps import columns_of


def _price_of(row: Mapping[str, Any]) -> Price:
    return price_from_json(json.loads(row["price"]))


class Store(QueryStore, package="keys_svc"):
    """Whoever changes a consumer's keys, requests, caps or standing holds `lock_consumer` meanwhile: so a key
    made while its consumer is being blocked ends up blocked, snapshots have their versions in the order of
    the changes, and the limit of keys holds."""

    _add_consumer = run()
    _lock_consumer = one(row=consumer_of)
    find_consumers = many(row=consumer_of)
    set_standing = run()
    set_spend_cap = run()

    add_access_request = one(AccessRequest)
    lock_access_request = one(AccessRequest)
    resolve_access_request = one(AccessRequest)
    list_access_requests = page(AccessRequest)
    list_consumer_access_requests = page(AccessRequest)

    is_granted = value(bool)
    add_grant = run()
    ungranted = column(UUID)
    granted_services = column(UUID)

    count_active_keys = value(int)
    _add_key = run()
    _assign_services = run()
    find_key = one(row=key_of)
    find_keys_by_hash = many(row=key_of)
    list_keys = page(row=key_of)
    list_key_names = many(KeyName)
    live_keys = many(row=key_of)
    revoke_key = run()
    set_key_spend_cap = run()
    renew_key = one(row=key_of)
    renew_keys = run()

    save_service = run()
    find_service = one(Service)
    _save_price_version = run()
    find_price_before = one(row=_price_of)
    add_announcement = run()
    lock_announcement = one(Announcement)
    list_granted_consumers = column(UUID)
    advance_announcement = run()

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

    async def add_key(self, key: Key) -> None:
        """The key and the services assigned to it. Raises asyncpg.ForeignKeyViolationError without grant."""
        await self._add_key(
            key_id=key.key_id,
            key_hash=key.key_hash,
            key_prefix=key.key_prefix,
            consumer_id=key.consumer_id,
            name=key.name,
            description=key.description,
            ttl_days=key.ttl_days,
            created_at=key.created_at,
            expires_at=key.expires_at,
            is_test=key.is_test,
            **columns_of(key.spend_cap),
        )
        await self._assign_services(
            key_id=key.key_id, consumer_id=key.consumer_id, service_ids=list(key.service_ids)
        )

    async def save_price_version(self, version: PriceVersion) -> None:
        await self._save_price_version(
            price_version_id=version.price_version_id,
            service_id=version.service_id,
            price=json.dumps(price_to_json(version.price)),
            starts_at=version.starts_at,
            canceled_at=version.canceled_at,
        )
