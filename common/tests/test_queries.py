from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from ams_common.database import Database
from ams_common.paging import PageRequest
from ams_common.queries import Queries, QueryStore, column, many, maybe_value, one, page, run, value

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
    async with database.connection() as connection:
        row = await queries.one(connection, "pick", first=1, second=2)
        assert row is not None
        assert dict(row) == {"total": 3, "text": ":quoted"}
        assert await queries.value(connection, "twice", word="a") == "aait's :not"
        assert await queries.many(connection, "none") == []
        for name in queries.names():
            await queries.prepare(connection, name)


async def test_wrong_parameters_are_a_type_error(database: Database) -> None:
    async with database.connection() as connection:
        with pytest.raises(TypeError, match=r"pick takes \['first', 'second'\]"):
            await Queries(TEXT).one(connection, "pick", first=1)


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Queries("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;")


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with database.read() as store:
            await store.connection.execute("DELETE FROM outbox")


@dataclass(frozen=True)
class Total:
    total: int
    text: str


def store_of(text: str) -> type[QueryStore]:
    class Store(QueryStore):
        queries = Queries(text)
        pick = one(Total)
        pick_all = many(Total)
        words = column(str)
        count = value(int)
        no_word = maybe_value(str)
        _delete_none = run()
        list_words = page(row=lambda row: row["word"])

        async def delete_twice(self) -> int:
            return await self._delete_none() + await self._delete_none()

    return Store


STORE = """
-- fragment: numbers
generate_series(:first::int, :last::int) AS number
-- name: pick
SELECT :first::int AS total, 'one' AS text
-- name: pick_all
SELECT number AS total, 'many' AS text FROM {numbers}
-- name: words
SELECT 'w' || number FROM {numbers}
-- name: count
SELECT count(*) FROM {numbers}
-- name: no_word
SELECT 'w' || number FROM {numbers} WHERE number > 100
-- name: delete_none
DELETE FROM outbox WHERE false
-- name: list_words
-- order word: text word
SELECT word, {key} FROM (VALUES ('a'), ('b'), ('c')) AS words (word) WHERE {after}
ORDER BY {order} LIMIT :limit
"""


async def test_a_store_declares_what_its_queries_give(database: Database) -> None:
    async with database.connection() as connection:
        store: Any = store_of(STORE)(connection)
        assert await store.pick(first=3) == Total(3, "one")
        assert await store.pick_all(first=1, last=2) == [Total(1, "many"), Total(2, "many")]
        assert await store.words(first=1, last=2) == ["w1", "w2"]
        assert await store.count(first=1, last=9) == 9
        assert await store.no_word(first=1, last=2) is None
        assert await store.delete_twice() == 0
        first = await store.list_words(PageRequest(size=2))
        assert first.rows == ["a", "b"]
        assert (await store.list_words(PageRequest(token=first.next_token))).rows == ["c"]
        with pytest.raises(TypeError, match=r"count takes \['first', 'last'\]"):
            await store.count(first=1)


async def test_a_parameter_may_have_any_name(database: Database) -> None:
    class Store(QueryStore):
        queries = Queries("-- name: join\nSELECT concat(:name::text, :store::text, :self::text)")
        join = value(str)

    async with database.connection() as connection:
        assert await Store(connection).join(name="a", store="b", self="c") == "abc"


def test_a_store_that_declares_what_its_file_lacks_is_refused() -> None:
    with pytest.raises(AttributeError, match="no query is called list_words"):
        store_of(STORE[: STORE.index("-- name: list_words")])


def test_a_store_tells_which_queries_it_takes() -> None:
    assert store_of(STORE).declared() == set(Queries(STORE).names())
