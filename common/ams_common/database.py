"""PostgreSQL: a pool, transactions that read, and transactions that change.

There is no third way in: a reading transaction is READ ONLY to the server, and a changing one needs
the audit name of its RPC and ends with its audit record and its outbox rows in the same commit. Either
gives the service's store on the transaction's connection.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic
from uuid import UUID

import asyncpg
from ams.audit.v1.events_pb2 import AuditRecord, FieldChange
from google.protobuf.message import Message
from typing_extensions import TypeVar

from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.context import RequestContext, request_context
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from ams_common.snapshots import Snapshot

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)
# A bare `Database` is one of whatever store.
S = TypeVar("S", default=Any)

_CONNECT_TIMEOUT_S = 10.0
_STATEMENT_TIMEOUT_S = 10.0


class AuditMissingError(Exception):
    """A change was about to be committed, or begun, that the audit log would not tell of."""


@dataclass(slots=True)
class Change(Generic[S]):
    """One changing transaction: the store on its connection, and what goes out with its commit."""

    connection: asyncpg.Connection
    store: S
    action: str
    actor: str
    request_id: str
    # What the actor proved itself with, and where the person is (ams_common.context).
    credential: str = ""
    client_address: str = ""
    # The Redis keys of the snapshots that it writes (ams_common.outbox.Deliveries).
    snapshot_keys: set[str] = field(default_factory=set)
    _is_audited: bool = False
    _outbox: list[tuple[str, str, bytes, bytes, int]] = field(default_factory=list)

    def audit(
        self, resource: str, resource_id: UUID | str, changes: Sequence[FieldChange] = (), /, **details: str
    ) -> None:
        """Write down who did what: the RPC's audit name, on this resource. `changes`: what is different now
        (see ams_common.field_changes). No secret in it, nor in `details`."""
        record = AuditRecord(
            audit_id=str(uuid7()),
            occurred_at=to_timestamp(utc_now()),
            actor=self.actor,
            action=self.action,
            resource=resource,
            resource_id=str(resource_id),
            details=details,
            request_id=self.request_id,
            credential=self.credential,
            client_address=self.client_address,
            changes=changes,
        )
        self.publish(topics.AUDIT_EVENTS, str(resource_id), record)
        self._is_audited = True

    def nothing_to_audit(self) -> None:
        """Say that the transaction turned out to change nothing that an audit record could tell."""
        self._is_audited = True

    def publish(self, topic: str, key: str, message: Message) -> None:
        """Send `message` to Kafka after the commit; messages of one `key` stay in order."""
        self._outbox.append(("kafka", topic, key.encode(), message.SerializeToString(), 0))

    def snapshot(self, redis_key: str, snapshot: Snapshot) -> None:
        """Write a snapshot to Redis after the commit, and tell the gateways."""
        self.snapshot_keys.add(redis_key)
        self._outbox.append(("redis", redis_key, b"", snapshot.SerializeToString(), snapshot.version))

    async def replay(self, request: Message, answer_type: type[M]) -> M | None:
        """The answer to this very request if it was given before under its idempotency key, else None.

        Raises InvalidArgumentError idempotency_key_reused when the key came with another request.
        A second request with the same key waits here until the first has committed.
        """
        idempotency_key: str = getattr(request, "idempotency_key")  # noqa: B009 - any request type that has it
        if not idempotency_key:
            return None
        await self.connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2 || '/' || $3, 0))",
            self.actor,
            self.action,
            idempotency_key,
        )
        row = await self.connection.fetchrow(
            "SELECT request_hash, answer FROM idempotent_answers"
            " WHERE actor = $1 AND method = $2 AND idempotency_key = $3",
            self.actor,
            self.action,
            idempotency_key,
        )
        if row is None:
            return None
        if row["request_hash"] != _hash(request):
            raise InvalidArgumentError(
                "idempotency_key_reused", "This idempotency key belongs to another request."
            )
        self.nothing_to_audit()
        return answer_type.FromString(row["answer"])

    async def remember(self, request: Message, answer: Message) -> None:
        """Keep `answer` for `replay`. Secrets must have been cleared from it."""
        idempotency_key: str = getattr(request, "idempotency_key")  # noqa: B009
        if idempotency_key:
            await self.connection.execute(
                "INSERT INTO idempotent_answers (actor, method, idempotency_key, request_hash, answer)"
                " VALUES ($1, $2, $3, $4, $5)",
                self.actor,
                self.action,
                idempotency_key,
                _hash(request),
                answer.SerializeToString(),
            )

    async def flush(self) -> None:
        """Write the outbox rows and wake the relays on commit."""
        if not self._outbox:
            return
        await self.connection.executemany(
            "INSERT INTO outbox (destination, topic, message_key, payload, snapshot_version)"
            " VALUES ($1, $2, $3, $4, $5)",
            self._outbox,
        )
        await self.connection.execute("SELECT pg_notify('outbox_' || current_schema(), '')")
        self._outbox.clear()


class Database(Generic[S]):
    """A service's schema, through its store `S`."""

    def __init__(self, pool: asyncpg.Pool, store: Callable[[asyncpg.Connection], S]) -> None:
        self._pool = pool
        self._store = store

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        store: Callable[[asyncpg.Connection], S],
        *,
        size: int = 10,
        plans_each_time: bool = False,
    ) -> AsyncIterator["Database[S]"]:
        """Connect as the service's own role, whose search_path is its schema.

        `plans_each_time`: statements are planned for the values that they come with, which takes a
        millisecond. For lists with filters: a plan for any values takes a filter that is off for a narrow
        one.
        """
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            timeout=_CONNECT_TIMEOUT_S,
            command_timeout=_STATEMENT_TIMEOUT_S,
            server_settings={"plan_cache_mode": "force_custom_plan"} if plans_each_time else None,
        )
        try:
            yield cls(pool, store)
        finally:
            await pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection outside of any transaction: where each statement is to stand for itself, and for
        tests."""
        async with self._pool.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[S]:
        """The store in a READ ONLY transaction with one view of the data."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield self._store(connection)

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Change[S]]:
        """The changing transaction of the RPC being served.

        Raises AuditMissingError when the RPC's rule has no audit name, or nothing was audited.
        """
        call = request_context.get()
        if call is None or not call.rule.audit:
            raise AuditMissingError("only an RPC whose rule has an audit name may change anything")
        async with self._transaction(call.rule.audit, call, True) as change:
            yield change

    @asynccontextmanager
    async def change_by_system(self, action: str, *, audited: bool = True) -> AsyncIterator[Change[S]]:
        """A change that no RPC asks for. `audited=False` only for the effects of an event whose cause is
        in the audit log already, and for retention."""
        async with self._transaction(action, None, audited) as change:
            yield change

    @asynccontextmanager
    async def _transaction(
        self, action: str, call: RequestContext | None, audited: bool
    ) -> AsyncIterator[Change[S]]:
        async with self._pool.acquire() as connection, connection.transaction():
            change = Change(connection, self._store(connection), action, "system", "")
            if call is not None:
                change.actor, change.request_id = call.caller.actor, call.request_id
                change.credential, change.client_address = call.caller.credential, call.client.address
            yield change
            if audited and not change._is_audited:
                raise AuditMissingError(f"{action} was about to change something without an audit record")
            await change.flush()


def _hash(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
