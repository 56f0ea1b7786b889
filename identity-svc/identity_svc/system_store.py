"""The SQL of what runs by itself: signing keys, mail, the audit log, upkeep."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from ams_common.ids import uuid7
from ams_common.paging import PageRequest
from ams_common.queries import Queries

from identity_svc.store import Connection, Rows


class SystemStore:
    """Each method takes the connection of the transaction that it is to be part of."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def lock_signing_keys(self, connection: Connection) -> None:
        """Until the transaction ends nobody else makes or deletes keys; they can still be read."""
        await self._queries.run(connection, "lock_signing_keys")

    async def list_signing_keys(self, connection: Connection) -> list[asyncpg.Record]:
        """In the order in which they become active."""
        return await self._queries.many(connection, "list_signing_keys")

    async def insert_signing_key(
        self,
        connection: Connection,
        key_id: str,
        sealed_private_key: bytes,
        now: datetime,
        active_from: datetime,
    ) -> None:
        await self._queries.run(
            connection,
            "insert_signing_key",
            key_id=key_id,
            sealed_private_key=sealed_private_key,
            now=now,
            active_from=active_from,
        )

    async def delete_signing_keys(self, connection: Connection, key_ids: Sequence[str]) -> None:
        await self._queries.run(connection, "delete_signing_keys", key_ids=key_ids)

    async def insert_mail(self, connection: Connection, *, only_to_user: bool, **values: Any) -> None:
        """Queue a mail, and wake the mailer on commit. `only_to_user`: not if the address is nobody's."""
        query = "insert_mail_to_user" if only_to_user else "insert_mail"
        await self._queries.run(connection, query, mail_id=uuid7(), **values)
        await self._queries.run(connection, "announce_mail")

    async def claim_mails(
        self, connection: Connection, now: datetime, leased_until: datetime, limit: int
    ) -> list[asyncpg.Record]:
        """Mails that are due and that nobody else sends until the lease ends."""
        return await self._queries.many(
            connection, "claim_mails", now=now, leased_until=leased_until, limit=limit
        )

    async def finish_mail(
        self, connection: Connection, mail_id: UUID, status: str, error: str | None, now: datetime
    ) -> None:
        await self._queries.run(
            connection, "finish_mail", mail_id=mail_id, status=status, error=error, now=now
        )

    async def postpone_mail(
        self, connection: Connection, mail_id: UUID, error: str, next_attempt_at: datetime
    ) -> None:
        await self._queries.run(
            connection, "postpone_mail", mail_id=mail_id, error=error, next_attempt_at=next_attempt_at
        )

    async def insert_audit_record(self, connection: Connection, **values: Any) -> None:
        """Nothing if the record is there already."""
        await self._queries.run(connection, "insert_audit_record", **values)

    async def list_audit_records(
        self, connection: Connection, wanted: PageRequest, **filters: str | None
    ) -> Rows:
        """Newest first; a filter that is None takes all."""
        return await self._queries.page(connection, "list_audit_records", wanted, **filters)

    async def delete_old(self, connection: Connection, what: str, before: datetime, limit: int) -> int:
        """How many were deleted of "challenges", "sessions", "refresh_tokens" or "mails"."""
        return await self._queries.run(connection, f"delete_old_{what}", before=before, limit=limit)
