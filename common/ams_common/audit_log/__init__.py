"""The audit log's schema. Provisioning makes it, for whoever may migrate a table owns it, and could change
what it holds; identity-svc, which writes the log, may only add records and read them."""

import asyncpg

from ams_common.migrations import bring_up_to_date

SCHEMA = "audit"
# The schema of the service that writes the log.
WRITER_SCHEMA = "identity"

_WRITABLE = (
    "audit_id, occurred_at, actor, action, resource, resource_id, details, request_id, credential,"
    " client_address, changes"
)


def owner_of(writer: str) -> str:
    """The role that owns the log which the role `writer` writes. Nobody signs in as it."""
    return f"{writer}_audit"


async def prepare(admin: asyncpg.Connection, writer: str) -> None:
    """Makes or updates the schema in the database of `admin`, an administrator's connection, and gives the
    role `writer` its rights. Idempotent."""
    owner = await _quoted(admin, owner_of(writer))
    if not await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", owner_of(writer)):
        await admin.execute(f"CREATE ROLE {owner} NOLOGIN")
    # Only who may act for a role can make what belongs to it; superusers may for all.
    if not await admin.fetchval("SELECT pg_has_role(current_user, $1, 'SET')", owner_of(writer)):
        await admin.execute(f"GRANT {owner} TO CURRENT_USER WITH SET TRUE")
    await admin.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA} AUTHORIZATION {owner}")
    await admin.execute(f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC")
    await admin.execute(f"SET ROLE {owner}")
    await admin.execute(f"SET search_path = {SCHEMA}")
    try:
        await bring_up_to_date(admin, ["ams_common.audit_log"])
        await _grant(admin, await _quoted(admin, writer))
    finally:
        await admin.execute("RESET search_path")
        await admin.execute("RESET ROLE")


async def _grant(owner: asyncpg.Connection, writer: str) -> None:
    """Taken away first: what an earlier release gave and this one doesn't must not stay."""
    for statement in (
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM {writer}",
        f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {SCHEMA} FROM {writer}, PUBLIC",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {writer}",
        f"GRANT SELECT ON {SCHEMA}.records, {SCHEMA}.head, {SCHEMA}.purges TO {writer}",
        f"GRANT INSERT ({_WRITABLE}) ON {SCHEMA}.records TO {writer}",
        f"GRANT EXECUTE ON FUNCTION {SCHEMA}.purge_records TO {writer}",
    ):
        await owner.execute(statement)


async def _quoted(connection: asyncpg.Connection, name: str) -> str:
    quoted: str = await connection.fetchval("SELECT quote_ident($1)", name)
    return quoted
