"""Migrations: numbered SQL files, forward only, each applied once in a transaction of its own.

A service's schema gets the files of this folder (tables that every service has) and then those of
`<service package>/migrations`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

# Any number: keeps two starting processes from migrating one schema at the same time.
_LOCK = 7_310_001


class MigrationError(Exception):
    """A migration that was applied has been changed, or one is missing."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file: its name, "<package>/<file>", and its text."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_of(package: str) -> list[Migration]:
    """The migrations in `<package>/migrations`, in the order of their numbers."""
    folder = files(package) / "migrations"
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [
        Migration(f"{package}/{entry.name}", entry.read_text())
        for entry in sorted(found, key=lambda e: e.name)
    ]


async def migrate(url: str, package: str) -> int:
    """Bring the schema of `url`'s role up to date; returns how many migrations were applied.

    Raises MigrationError when a file that was applied has changed since.
    """
    connection = await asyncpg.connect(url)
    try:
        return await bring_up_to_date(connection, ["ams_common", package])
    finally:
        await connection.close()


async def bring_up_to_date(connection: asyncpg.Connection, packages: Iterable[str]) -> int:
    """Bring the connection's present schema up to date with the migrations of `packages`, in their order, as
    `migrate` does. Nobody else migrates it until the connection is closed."""
    await connection.execute("SELECT pg_advisory_lock($1, hashtext(current_schema()))", _LOCK)
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT * FROM migrations")}
    migrations = [migration for name in dict.fromkeys(packages) for migration in migrations_of(name)]
    return await _apply(connection, migrations, applied)


async def _apply(connection: asyncpg.Connection, migrations: list[Migration], applied: dict[str, str]) -> int:
    count = 0
    for migration in migrations:
        if migration.name in applied:
            if applied[migration.name] != migration.checksum:
                raise MigrationError(
                    f"{migration.name} was changed after it had been applied: add a new one instead"
                )
            continue
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
            )
        count += 1
    return count
