import asyncpg
import pytest
from ams_common.database import Database
from ams_common.queries import Queries

TEXT = """
-- name: pick
SELECT :first::int + :second::int AS total, ':quoted' AS text; -- :comment

-- name: twice
SELECT :word::text || :word::text || 'it''s :not'

-- name: none
SELECT 1 WHERE false;
"""


async def test_parameters_are_named_and_quotes_and_casts_are_left_alone(database: Database) -> None:
    queries = Queries(TEXT)
    async with database.read() as connection:
        row = await queries.one(connection, "pick", first=1, second=2)
        assert row is not None
        assert dict(row) == {"total": 3, "text": ":quoted"}
        assert await queries.value(connection, "twice", word="a") == "aait's :not"
        assert await queries.many(connection, "none") == []
        for name in queries.names():
            await queries.prepare(connection, name)


async def test_wrong_parameters_are_a_type_error(database: Database) -> None:
    async with database.read() as connection:
        with pytest.raises(TypeError, match=r"pick takes \['first', 'second'\]"):
            await Queries(TEXT).one(connection, "pick", first=1)


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Queries("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;")


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with database.read() as connection:
            await connection.execute("DELETE FROM outbox")
