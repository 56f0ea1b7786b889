"""The only module that runs SQL: what each query is, queries.sql says."""

from uuid import UUID

from ams.identity.v1.events_pb2 import Standing
from ams_common.queries import QueryStore, column, many, maybe_value, one, page, run, value

from keys_svc.access_requests import AccessRequest
from keys_svc.keys import Key
from keys_svc.standing import from_table


class Store(QueryStore, package="keys_svc"):
    """Whoever changes a consumer's keys, requests or standing holds `lock_consumer` meanwhile: so a key made
    while its consumer is being blocked ends up blocked, no revoked key's snapshot is overwritten by an older
    one, and the limit of keys holds."""

    _add_consumer = run()
    _lock_consumer = value(str)
    _standing = maybe_value(str)
    set_standing = run()

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
    find_key = one(Key)
    find_key_by_hash = one(Key)
    list_keys = page(Key)
    live_keys = many(Key)
    revoke_key = run()

    async def lock_consumer(self, consumer_id: UUID) -> Standing.ValueType:
        """The consumer's standing, which nobody else changes until the commit."""
        # There is no row yet of a consumer whose registration hasn't been heard of; only a row can be locked.
        await self._add_consumer(consumer_id=consumer_id)
        return from_table(await self._lock_consumer(consumer_id=consumer_id))

    async def standing(self, consumer_id: UUID) -> Standing.ValueType:
        return from_table(await self._standing(consumer_id=consumer_id))

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
        )
        await self._assign_services(
            key_id=key.key_id, consumer_id=key.consumer_id, service_ids=list(key.service_ids)
        )
