"""The database of AMS: one schema and one login role per service, closed to each other, and the schema of the
audit log, which belongs to none of them.

Idempotent: it makes what is missing and sets what is there. An administrator runs it; the services
then connect as their own roles and migrate their own schemas.

    python -m ams_common.provision

does so at DATABASE_URL, an administrator's, with the passwords that IDENTITY_DATABASE_PASSWORD and so on
hold; and makes the Kafka topics that are missing at KAFKA_BOOTSTRAP_SERVERS.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from ams_common import audit_log, topics
from ams_common.processes import GRPC_SERVERS

# Schema → the role that owns it.
OWNERS: Mapping[str, str] = {schema: process.package for schema, process in GRPC_SERVERS.items()}

# What a schema's tables need of PostgreSQL's own extensions, each made in that schema: nothing else sees it.
EXTENSIONS: Mapping[str, Sequence[str]] = {"catalog": ("pg_trgm",)}

# Any number that nothing else locks: two runs at once would trip over each other's catalogue rows.
_LOCK = 0x616D735F70726F76


async def provision(
    admin_url: str,
    database: str = "ams",
    *,
    passwords: Mapping[str, str] | None = None,
    owners: Mapping[str, str] = OWNERS,
) -> dict[str, str]:
    """Each schema's URL, for its own role.

    `admin_url` is a superuser's, or that of a role with CREATEDB and CREATEROLE, to any database of the
    server. Who made the database may make the EXTENSIONS, which PostgreSQL trusts; a managed server may have
    to be told first that it is to offer them. `passwords` are by schema; where one is missing the role gets
    a new random one.
    """
    passwords = {schema: (passwords or {}).get(schema) or secrets.token_urlsafe(24) for schema in owners}
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await _hide_from_log(admin)
        if not await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
            await _execute(admin, "CREATE DATABASE %I", database)
        for schema, role in owners.items():
            await _ensure_role(admin, role, passwords[schema])
        await _fill(_url(admin_url, database), database, owners)
    finally:
        await admin.close()
    return {schema: _url(admin_url, database, role, passwords[schema]) for schema, role in owners.items()}


async def _hide_from_log(admin: asyncpg.Connection) -> None:
    """Keeps statements, which hold passwords, out of the server's log; a superuser's right."""
    if await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        await admin.execute("SET log_statement = 'none'")
        await admin.execute("SET log_min_error_statement = 'panic'")
        await admin.execute("SET log_min_duration_statement = -1")


async def _ensure_role(admin: asyncpg.Connection, role: str, password: str) -> None:
    if not await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
        await _execute(admin, "CREATE ROLE %I", role)
    await _execute(admin, "ALTER ROLE %I LOGIN PASSWORD %L", role, password)
    # Only a member may hand a schema to a role; superusers count as members of all.
    if not await admin.fetchval("SELECT pg_has_role(current_user, $1, 'MEMBER')", role):
        await _execute(admin, "GRANT %I TO CURRENT_USER", role)


async def _fill(url: str, database: str, owners: Mapping[str, str]) -> None:
    """The schemas and the rights inside the database."""
    connection = await asyncpg.connect(url)
    try:
        await _execute(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for schema, role in owners.items():
            await _execute(connection, "GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I", database, role)
            await _execute(connection, "CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I", schema, role)
            await _execute(connection, "ALTER SCHEMA %I OWNER TO %I", schema, role)
            await _execute(connection, "REVOKE ALL ON SCHEMA %I FROM PUBLIC", schema)
            await _execute(
                connection, "ALTER ROLE %I IN DATABASE %I SET search_path = %I", role, database, schema
            )
            await make_extensions(connection, schema)
        if (writer := owners.get(audit_log.WRITER_SCHEMA)) is not None:
            await audit_log.prepare(connection, writer)
    finally:
        await connection.close()


async def make_extensions(connection: asyncpg.Connection, schema: str) -> None:
    """What `schema` needs of the EXTENSIONS; `connection` is an administrator's."""
    for extension in EXTENSIONS.get(schema, ()):
        await _execute(connection, "CREATE EXTENSION IF NOT EXISTS %I SCHEMA %I", extension, schema)


async def unprovision(admin_url: str, database: str, owners: Mapping[str, str] = OWNERS) -> None:
    """Drops what `provision` has made, whoever is connected to it: for databases of tests."""
    admin = await asyncpg.connect(admin_url)
    try:
        await _execute(admin, "DROP DATABASE %I WITH (FORCE)", database)
        roles = list(owners.values())
        if (writer := owners.get(audit_log.WRITER_SCHEMA)) is not None:
            roles.append(audit_log.owner_of(writer))
        for role in roles:
            await _execute(admin, "DROP ROLE %I", role)
    finally:
        await admin.close()


async def _execute(connection: asyncpg.Connection, template: str, *values: str) -> None:
    """Runs a statement that takes no parameters: the server itself quotes names (%I) and literals (%L)."""
    places = "".join(f", ${number}::text" for number in range(2, len(values) + 2))
    await connection.execute(await connection.fetchval(f"SELECT format($1{places})", template, *values))


def _url(url: str, database: str, user: str | None = None, password: str = "") -> str:
    """`url` with another database and, where given, another user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(user)}:{quote(password, safe='')}@{host}" if user else parts.netloc
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{quote(database)}"))


def main() -> None:
    """Exit code 2, and one line for each variable, when what it needs isn't set."""
    names = {schema: process.variable("DATABASE_PASSWORD") for schema, process in GRPC_SERVERS.items()}
    needed = ("DATABASE_URL", *names.values(), "KAFKA_BOOTSTRAP_SERVERS")
    missing = [name for name in needed if not os.environ.get(name)]
    if missing:
        sys.stderr.writelines(f"provision: {name} must be set\n" for name in missing)
        sys.exit(2)
    passwords = {schema: os.environ[name] for schema, name in names.items()}
    asyncio.run(provision(os.environ["DATABASE_URL"], passwords=passwords))
    kafka, prefix = os.environ["KAFKA_BOOTSTRAP_SERVERS"], os.environ.get("KAFKA_TOPIC_PREFIX", "")
    asyncio.run(topics.create_missing(kafka, prefix))
    asyncio.run(topics.correct_in_sync_copies(kafka, prefix))


if __name__ == "__main__":
    main()
