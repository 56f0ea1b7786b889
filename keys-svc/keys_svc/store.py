"""The only module that runs SQL. Each method is the query of its name."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import asyncpg
from ams.identity.v1.events_pb2 import Standing
from ams_common.paging import Page, PageRequest
from ams_common.queries import Queries

from keys_svc import standing
from keys_svc.access import AccessRequest
from keys_svc.keys import Key


class Store:
    """Every method works within the transaction of the connection that it is given."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def lock_consumer(self, connection: asyncpg.Connection, consumer_id: UUID) -> Standing.ValueType:
        """The consumer's standing, which now stays until the commit.

        Whoever changes a consumer's keys, requests or standing holds this lock: so a key made while its
        consumer is being blocked ends up blocked, no revoked key's snapshot is overwritten by an older
        one, and the limit of keys holds.
        """
        await self._queries.run(connection, "add_consumer", consumer_id=consumer_id)
        text = await self._queries.value(connection, "lock_consumer", consumer_id=consumer_id)
        return standing.from_table(text)

    async def standing(self, connection: asyncpg.Connection, consumer_id: UUID) -> Standing.ValueType:
        return standing.from_table(await self._queries.value(connection, "standing", consumer_id=consumer_id))

    async def set_standing(
        self, connection: asyncpg.Connection, consumer_id: UUID, new: Standing.ValueType
    ) -> None:
        await self._queries.run(
            connection, "set_standing", consumer_id=consumer_id, standing=standing.to_table(new)
        )

    async def add_access_request(
        self,
        connection: asyncpg.Connection,
        *,
        access_request_id: UUID,
        consumer_id: UUID,
        service_id: UUID,
        merchant_id: UUID,
        note: str,
        requested_at: datetime,
    ) -> AccessRequest | None:
        """The new request, or None when one for this service is pending already. The consumer is locked."""
        row = await self._queries.one(
            connection,
            "add_access_request",
            access_request_id=access_request_id,
            consumer_id=consumer_id,
            service_id=service_id,
            merchant_id=merchant_id,
            note=note,
            requested_at=requested_at,
        )
        return _access_request(row)

    async def lock_access_request(
        self, connection: asyncpg.Connection, access_request_id: UUID
    ) -> AccessRequest | None:
        row = await self._queries.one(connection, "lock_access_request", access_request_id=access_request_id)
        return _access_request(row)

    async def resolve_access_request(
        self,
        connection: asyncpg.Connection,
        access_request_id: UUID,
        *,
        status: str,
        reason: str,
        resolved_at: datetime,
        resolved_by: UUID,
    ) -> AccessRequest:
        """The request as it is now. It is locked, and pending."""
        row = await self._queries.one(
            connection,
            "resolve_access_request",
            access_request_id=access_request_id,
            status=status,
            reason=reason,
            resolved_at=resolved_at,
            resolved_by=resolved_by,
        )
        assert row is not None, "locked and pending"
        return AccessRequest(**row)

    async def list_access_requests(
        self,
        connection: asyncpg.Connection,
        wanted: PageRequest,
        *,
        status: str | None,
        consumer_id: UUID | None,
    ) -> Page[AccessRequest]:
        """All consumers' requests, oldest first."""
        page = await self._queries.page(
            connection, "list_access_requests", wanted, status=status, consumer_id=consumer_id
        )
        return page.map(lambda row: AccessRequest(**row))

    async def list_consumer_access_requests(
        self, connection: asyncpg.Connection, wanted: PageRequest, consumer_id: UUID, *, status: str | None
    ) -> Page[AccessRequest]:
        """One consumer's requests, newest first."""
        page = await self._queries.page(
            connection, "list_consumer_access_requests", wanted, consumer_id=consumer_id, status=status
        )
        return page.map(lambda row: AccessRequest(**row))

    async def is_granted(self, connection: asyncpg.Connection, consumer_id: UUID, service_id: UUID) -> bool:
        return bool(
            await self._queries.value(
                connection, "is_granted", consumer_id=consumer_id, service_id=service_id
            )
        )

    async def add_grant(self, connection: asyncpg.Connection, request: AccessRequest) -> None:
        """What an approved request gives, from the moment of its approval."""
        await self._queries.run(
            connection,
            "add_grant",
            consumer_id=request.consumer_id,
            service_id=request.service_id,
            merchant_id=request.merchant_id,
            access_request_id=request.access_request_id,
            granted_at=request.resolved_at,
        )

    async def ungranted(
        self, connection: asyncpg.Connection, consumer_id: UUID, service_ids: Sequence[UUID]
    ) -> set[UUID]:
        """Those of `service_ids` that the consumer has no grant for."""
        rows = await self._queries.many(
            connection, "ungranted", consumer_id=consumer_id, service_ids=list(service_ids)
        )
        return {row["service_id"] for row in rows}

    async def granted_services(self, connection: asyncpg.Connection, consumer_id: UUID) -> list[UUID]:
        rows = await self._queries.many(connection, "granted_services", consumer_id=consumer_id)
        return [row["service_id"] for row in rows]

    async def count_active_keys(
        self, connection: asyncpg.Connection, consumer_id: UUID, now: datetime
    ) -> int:
        return int(
            await self._queries.value(connection, "count_active_keys", consumer_id=consumer_id, now=now)
        )

    async def add_key(self, connection: asyncpg.Connection, key: Key) -> None:
        """The key and the services assigned to it. Raises asyncpg.ForeignKeyViolationError without grant."""
        await self._queries.run(
            connection,
            "add_key",
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
        await self._queries.run(
            connection,
            "assign_services",
            key_id=key.key_id,
            consumer_id=key.consumer_id,
            service_ids=list(key.service_ids),
        )

    async def find_key(self, connection: asyncpg.Connection, key_id: UUID, consumer_id: UUID) -> Key | None:
        """The consumer's own key; None for nobody's and for somebody else's."""
        return _key(await self._queries.one(connection, "find_key", key_id=key_id, consumer_id=consumer_id))

    async def find_key_by_hash(self, connection: asyncpg.Connection, key_hash: bytes) -> Key | None:
        return _key(await self._queries.one(connection, "find_key_by_hash", key_hash=key_hash))

    async def list_keys(
        self,
        connection: asyncpg.Connection,
        wanted: PageRequest,
        consumer_id: UUID,
        patterns: Sequence[str],
        status: str | None,
        now: datetime,
    ) -> Page[Key]:
        """One consumer's keys; `patterns`: patterns_of a query."""
        page = await self._queries.page(
            connection,
            "list_keys",
            wanted,
            consumer_id=consumer_id,
            patterns=patterns,
            status=status,
            now=now,
        )
        return page.map(lambda row: Key(**row))

    async def live_keys(self, connection: asyncpg.Connection, consumer_id: UUID, now: datetime) -> list[Key]:
        """The consumer's keys that are neither revoked nor expired."""
        rows = await self._queries.many(connection, "live_keys", consumer_id=consumer_id, now=now)
        return [Key(**row) for row in rows]

    async def revoke_key(self, connection: asyncpg.Connection, key: Key, revoked_at: datetime) -> Key:
        """The key as it is now. Its consumer is locked, and it was read since."""
        await self._queries.run(
            connection,
            "revoke_key",
            key_id=key.key_id,
            consumer_id=key.consumer_id,
            revoked_at=revoked_at,
        )
        return replace(key, revoked_at=revoked_at)


def _access_request(row: asyncpg.Record | None) -> AccessRequest | None:
    return AccessRequest(**row) if row is not None else None


def _key(row: asyncpg.Record | None) -> Key | None:
    return Key(**row) if row is not None else None
