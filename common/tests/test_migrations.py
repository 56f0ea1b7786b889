import asyncio

import asyncpg
import pytest
from ams_common.migrations import MigrationError, migrate, migrations_of


async def test_migrating_again_changes_nothing_even_at_once(database_url: str) -> None:
    assert await asyncio.gather(*(migrate(database_url, "ams_common") for _ in range(3))) == [0, 0, 0]


async def test_an_edited_migration_is_refused(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE migrations SET checksum = 'other'")
    await connection.close()
    with pytest.raises(MigrationError, match="0001_common"):
        await migrate(database_url, "ams_common")


def test_migrations_come_in_order() -> None:
    names = [migration.name for migration in migrations_of("ams_common")]
    assert names == sorted(names)
    assert names
