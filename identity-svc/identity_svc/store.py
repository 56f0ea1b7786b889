"""The SQL of what people do: accounts, invites, challenges, sessions. It and system_store are the only
modules that run SQL; rows come as asyncpg.Record, with the columns that queries.sql names."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from ams_common.ids import uuid7
from ams_common.paging import Page, PageRequest
from ams_common.queries import Queries

from identity_svc import slugs
from identity_svc.challenges import LONGEST_WINDOW, MAX_ATTEMPTS, Draft
from identity_svc.roles import Transition

Connection: TypeAlias = asyncpg.Connection
Rows: TypeAlias = Page[dict[str, Any]]


class Store:
    """Each method takes the connection of the transaction that it is to be part of."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    # Accounts and roles

    async def find_account(self, connection: Connection, user_id: UUID) -> asyncpg.Record | None:
        """The user, with the roles in which they may act now."""
        return await self._queries.one(connection, "find_account", user_id=user_id)

    async def find_user_id(self, connection: Connection, email: str) -> UUID | None:
        user_id: UUID | None = await self._queries.value(connection, "find_user_id", email=email)
        return user_id

    async def find_federated_user_id(self, connection: Connection, issuer: str, subject: str) -> UUID | None:
        """The account that an issuer's subject is linked to."""
        user_id: UUID | None = await self._queries.value(
            connection, "find_federated_user_id", issuer=issuer, subject=subject
        )
        return user_id

    async def link_federated_identity(
        self, connection: Connection, issuer: str, subject: str, user_id: UUID, now: datetime
    ) -> None:
        """For good. Of two that link it at once, the first does; both mean the same account."""
        await self._queries.run(
            connection, "link_federated_identity", issuer=issuer, subject=subject, user_id=user_id, now=now
        )

    async def holds_role(self, connection: Connection, email: str, role: str) -> bool:
        held: bool = await self._queries.value(connection, "holds_role", email=email, role=role)
        return held

    async def ensure_user(self, connection: Connection, email: str, name: str, now: datetime) -> UUID:
        """The account of this address, made if there is none. Of two that make it at once, one does."""
        user_id: UUID | None = await self._queries.value(
            connection, "insert_user", user_id=uuid7(), email=email, name=name, now=now
        )
        user_id = user_id or await self.find_user_id(connection, email)
        assert user_id is not None, "users are never deleted"
        return user_id

    async def grant_role(self, connection: Connection, user_id: UUID, role: str, now: datetime) -> bool:
        """Whether the role is new to the account."""
        granted = await self._queries.value(connection, "grant_role", user_id=user_id, role=role, now=now)
        return granted is not None

    async def insert_merchant_profile(self, connection: Connection, user_id: UUID, company_name: str) -> None:
        """Under the first slug of the company's name that is free."""
        for slug in slugs.candidates(company_name):
            values = {"user_id": user_id, "company_name": company_name, "slug": slug}
            if await self._queries.one(connection, "insert_merchant_profile", **values) is not None:
                return

    async def lock_role(self, connection: Connection, user_id: UUID, role: str) -> str | None:
        """The standing of a user's role, which nobody else changes until the transaction ends."""
        standing: str | None = await self._queries.value(connection, "lock_role", user_id=user_id, role=role)
        return standing

    async def set_standing(self, connection: Connection, user_id: UUID, transition: Transition) -> None:
        await self._queries.run(
            connection, "set_standing", user_id=user_id, role=transition.role, standing=transition.after
        )

    async def find_merchant(self, connection: Connection, user_id: UUID) -> asyncpg.Record | None:
        return await self._queries.one(connection, "find_merchant", user_id=user_id)

    async def list_merchants(
        self, connection: Connection, wanted: PageRequest, standing: str | None, patterns: Sequence[str]
    ) -> Rows:
        """`patterns`: patterns_of a query."""
        return await self._queries.page(
            connection, "list_merchants", wanted, standing=standing, patterns=patterns
        )

    async def find_consumer(self, connection: Connection, user_id: UUID) -> asyncpg.Record | None:
        return await self._queries.one(connection, "find_consumer", user_id=user_id)

    async def list_consumers(
        self, connection: Connection, wanted: PageRequest, standing: str | None, patterns: Sequence[str]
    ) -> Rows:
        """`patterns`: patterns_of a query."""
        return await self._queries.page(
            connection, "list_consumers", wanted, standing=standing, patterns=patterns
        )

    # Invites

    async def insert_invite(
        self,
        connection: Connection,
        *,
        email: str,
        code_hash: bytes,
        note: str,
        now: datetime,
        expires_at: datetime,
    ) -> asyncpg.Record:
        invite = await self._queries.one(
            connection,
            "insert_invite",
            invite_id=uuid7(),
            email=email,
            code_hash=code_hash,
            note=note,
            now=now,
            expires_at=expires_at,
        )
        assert invite is not None
        return invite

    async def find_open_invite(
        self, connection: Connection, code_hash: bytes, email: str, now: datetime
    ) -> UUID | None:
        """The invite of this code, if it is for this address and still good."""
        invite_id: UUID | None = await self._queries.value(
            connection, "find_open_invite", code_hash=code_hash, email=email, now=now
        )
        return invite_id

    async def accept_invite(
        self, connection: Connection, invite_id: UUID, user_id: UUID, now: datetime
    ) -> bool:
        """Use the invite up. False when it was used or has expired."""
        accepted = await self._queries.value(
            connection, "accept_invite", invite_id=invite_id, user_id=user_id, now=now
        )
        return accepted is not None

    async def list_invites(self, connection: Connection, wanted: PageRequest) -> Rows:
        return await self._queries.page(connection, "list_invites", wanted)

    # Challenges

    async def lock_address(self, connection: Connection, email: str) -> None:
        """One at a time from here: requests that come at once must not outrun the limits."""
        await self._queries.run(connection, "lock_address", email=email)

    async def list_open_challenges(self, connection: Connection, email: str, now: datetime) -> list[datetime]:
        """When the unproven challenges of this address were made."""
        since = now - LONGEST_WINDOW
        rows = await self._queries.many(connection, "list_open_challenges", email=email, since=since)
        return [row["created_at"] for row in rows]

    async def insert_challenge(
        self,
        connection: Connection,
        challenge_id: UUID,
        draft: Draft,
        code_hash: bytes,
        now: datetime,
        expires_at: datetime,
    ) -> None:
        await self._queries.run(
            connection,
            "insert_challenge",
            challenge_id=challenge_id,
            purpose=draft.purpose.value,
            email=draft.email,
            name=draft.name,
            company_name=draft.company_name,
            invite_id=draft.invite_id,
            code_hash=code_hash,
            now=now,
            expires_at=expires_at,
        )

    async def spend_attempt(
        self, connection: Connection, challenge_id: UUID, now: datetime
    ) -> asyncpg.Record | None:
        """The challenge, one attempt poorer and locked; None when it is used, dead, expired or unknown."""
        return await self._queries.one(
            connection, "spend_attempt", challenge_id=challenge_id, now=now, max_attempts=MAX_ATTEMPTS
        )

    async def use_challenge(self, connection: Connection, challenge_id: UUID, now: datetime) -> None:
        await self._queries.run(connection, "use_challenge", challenge_id=challenge_id, now=now)

    # Sessions

    async def insert_session(
        self,
        connection: Connection,
        user_id: UUID,
        active_role: str | None,
        now: datetime,
        expires_at: datetime,
    ) -> UUID:
        session_id = uuid7()
        await self._queries.run(
            connection,
            "insert_session",
            session_id=session_id,
            user_id=user_id,
            active_role=active_role,
            now=now,
            expires_at=expires_at,
        )
        return session_id

    async def insert_refresh_token(
        self, connection: Connection, session_id: UUID, token_hash: bytes, now: datetime
    ) -> None:
        await self._queries.run(
            connection, "insert_refresh_token", session_id=session_id, token_hash=token_hash, now=now
        )

    async def lock_session(self, connection: Connection, token_hash: bytes) -> asyncpg.Record | None:
        """The session of a refresh token, with `used_at` of the token; both are locked."""
        return await self._queries.one(connection, "lock_session", token_hash=token_hash)

    async def find_session(self, connection: Connection, token_hash: bytes) -> asyncpg.Record | None:
        """The session of a refresh token, unless it has ended."""
        return await self._queries.one(connection, "find_session", token_hash=token_hash)

    async def refresh_session(
        self,
        connection: Connection,
        session_id: UUID,
        used_token_hash: bytes,
        active_role: str | None,
        now: datetime,
        expires_at: datetime,
    ) -> None:
        """Use a refresh token up; the session goes on until its end, which a role may have moved."""
        await self._queries.run(connection, "use_refresh_token", token_hash=used_token_hash, now=now)
        await self._queries.run(
            connection,
            "refresh_session",
            session_id=session_id,
            active_role=active_role,
            expires_at=expires_at,
        )

    async def end_session(self, connection: Connection, session_id: UUID, now: datetime) -> None:
        await self._queries.run(connection, "end_session", session_id=session_id, now=now)
