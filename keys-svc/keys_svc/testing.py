"""What tests need besides what they do: very many keys, for those of plans and benchmarks, and a project."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from ams.identity.v1.events_pb2 import (
    PROJECT_MANAGER,
    PROJECT_MEMBER,
    PROJECT_OWNER,
    PROJECT_VIEWER,
    IdentityEvent,
    ProjectChanged,
    ProjectMember,
)
from ams_common.ids import uuid7

# Each consumer has access to two services; its keys, rotated once, are for one of them. One in ten asks for a
# third.
_FILL = (
    """
    CREATE TEMPORARY TABLE sold AS
    SELECT number, gen_random_uuid() AS service_id, merchants.merchant_id
    FROM generate_series(0, $1::int - 1) AS number
    JOIN (SELECT row_number() OVER () - 1 AS place, gen_random_uuid() AS merchant_id
          FROM generate_series(1, greatest(1, $1::int / 10))) AS merchants
        ON merchants.place = number % greatest(1, $1::int / 10)
    """,
    "INSERT INTO consumers (consumer_id) SELECT gen_random_uuid() FROM generate_series(1, $1::int)",
    """
    CREATE TEMPORARY TABLE bought AS
    SELECT gen_random_uuid() AS grant_id, gen_random_uuid() AS access_request_id, buyers.consumer_id, turn,
        sold.service_id, sold.merchant_id, now() - random() * interval '300 days' AS granted_at
    FROM (SELECT consumer_id, row_number() OVER () AS place FROM consumers) AS buyers
    CROSS JOIN generate_series(0, 2) AS turn
    JOIN sold ON sold.number = (buyers.place * 7 + turn) % (SELECT count(*) FROM sold)
    WHERE turn < 2 OR buyers.place % 10 = 0
    """,
    """
    INSERT INTO access_requests (access_request_id, consumer_id, service_id, merchant_id, status, note,
        requested_at, requested_by, resolved_at, resolved_by, resolver)
    SELECT access_request_id, consumer_id, service_id, merchant_id,
        CASE WHEN turn < 2 THEN 'approved' ELSE 'pending' END, 'please', granted_at, consumer_id,
        CASE WHEN turn < 2 THEN granted_at END, CASE WHEN turn < 2 THEN consumer_id END,
        CASE WHEN turn < 2 THEN 'admin' END
    FROM bought
    """,
    """
    INSERT INTO grants (grant_id, consumer_id, service_id, merchant_id, access_request_id, granted_at)
    SELECT grant_id, consumer_id, service_id, merchant_id, access_request_id, granted_at
    FROM bought WHERE turn < 2
    """,
    """
    INSERT INTO keys (key_id, key_hash, key_prefix, consumer_id, created_by, name, description, ttl_days,
        created_at, expires_at, next_notice_at)
    SELECT key_id, sha256(key_id::text::bytea), 'ams_live_' || substr(md5(key_id::text), 1, 8), consumer_id,
        consumer_id, 'Key ' || number, 'for service ' || number, 365, made_at, made_at + interval '365 days',
        made_at + interval '351 days'
    FROM (SELECT gen_random_uuid() AS key_id, consumer_id, number,
              now() - random() * interval '300 days' AS made_at
          FROM consumers CROSS JOIN generate_series(1, $1::int) AS number) AS made
    """,
    """
    INSERT INTO key_services (key_id, holder_id, service_id, grant_id)
    SELECT keys.key_id, keys.holder_id, bought.service_id, bought.grant_id
    FROM keys JOIN bought ON bought.consumer_id = keys.consumer_id AND bought.turn = 0
    """,
    """
    INSERT INTO previous_secrets (key_hash, key_id, key_prefix, replaced_at, ends_at)
    SELECT sha256(key_hash), key_id, key_prefix, created_at, created_at + interval '1 hour' FROM keys
    """,
    "ANALYZE consumers, access_requests, grants, keys, key_services, consumer_terms, previous_secrets",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A consumer with a key for a service, somewhere among all."""

    consumer_id: UUID
    key_id: UUID
    key_hash: bytes
    service_id: UUID
    merchant_id: UUID


async def fill(connection: asyncpg.Connection, *, consumers: int, keys_each: int, services: int) -> None:
    """Fills an empty schema of keys-svc."""
    counts = {0: (services,), 1: (consumers,), 5: (keys_each,)}
    for number, statement in enumerate(_FILL):
        await connection.execute(statement, *counts.get(number, ()), timeout=1800)
    await connection.execute("DROP TABLE sold; DROP TABLE bought")


async def samples(connection: asyncpg.Connection, count: int) -> list[Sample]:
    """So many of them, from all over."""
    rows = await connection.fetch(
        "SELECT keys.consumer_id, keys.key_id, keys.key_hash, grants.service_id, grants.merchant_id"
        " FROM keys JOIN key_services USING (key_id) JOIN grants USING (grant_id)"
        " ORDER BY md5(keys.key_id::text) LIMIT $1",
        count,
        timeout=600,
    )
    return [Sample(**row) for row in rows]


ROLES = {
    "owner": PROJECT_OWNER,
    "manager": PROJECT_MANAGER,
    "member": PROJECT_MEMBER,
    "viewer": PROJECT_VIEWER,
}


class Team:
    """A project, and somebody in each role."""

    def __init__(self, members: Mapping[str, Any], apply: Callable[..., Awaitable[None]]) -> None:
        self.project_id = uuid7()
        self.members = members
        self.owner = members["owner"]
        self._apply = apply
        self._version = 0

    async def tell(
        self,
        *,
        without: str = "",
        owner: str = "owner",
        is_closed: bool = False,
        bounded: Mapping[str, list[str]] | None = None,
    ) -> None:
        """As identity-svc tells it: the project without a member, owned by another, or closed."""
        self._version += 1
        people = []
        for name, caller in self.members.items():
            if name == without:
                continue
            role = ROLES[name]
            if owner != "owner":
                role = {"owner": PROJECT_MANAGER, owner: PROJECT_OWNER}.get(name, role)
            people.append(
                ProjectMember(
                    user_id=str(caller.user_id), role=role, service_ids=(bounded or {}).get(name, [])
                )
            )
        changed = ProjectChanged(
            project_id=str(self.project_id),
            name="Shop",
            owner_id=str(self.members[owner].user_id),
            members=people,
            is_closed=is_closed,
            version=self._version,
        )
        await self._apply(IdentityEvent(event_id=str(uuid7()), project_changed=changed))
