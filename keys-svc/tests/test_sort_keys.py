"""ListKeys: every order, and the search for words."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from ams_common.database import Database
from ams_common.testing.lists import check_orders, check_orders_while_rows_come, walk

NAMES = ["ci", "CI", "Ärger", "ärger", "Zebra", "apple", "cI"]
SORT_KEYS: dict[str, Callable[[Any], Any]] = {
    "name": lambda key: key.name.lower(),
    "created_at": lambda key: key.created_at.ToNanoseconds(),
    "expires_at": lambda key: key.expires_at.ToNanoseconds(),
}


async def add_key(grant: Any, caller: Any, name: str, description: str = "") -> Any:
    service_ids = [await grant(caller)]
    return await caller("CreateKey", name=name, description=description, service_ids=service_ids, ttl_days=30)


@pytest.fixture
async def keys(consumer: Any, outsider: Any, grant: Any, database: Database) -> Any:
    """Seven keys of the consumer, whose times have three values, and one of somebody else's."""
    for name in NAMES:
        await add_key(grant, consumer, name)
    await add_key(grant, outsider, "ci")
    async with database.connection() as connection:
        await connection.execute(
            """
            UPDATE keys SET created_at = now() - rank % 3 * interval '1 s',
                expires_at = now() + rank * 2 % 3 * interval '1 s' + interval '1 day'
            FROM (SELECT key_id, row_number() OVER (ORDER BY key_id) AS rank FROM keys) AS ranked
            WHERE ranked.key_id = keys.key_id
            """
        )
    return partial(consumer, "ListKeys")


async def test_a_consumer_gets_its_own_keys_in_every_order(keys: Any) -> None:
    await check_orders(keys, SORT_KEYS, "created_at desc")
    assert sorted(key.name for key in await walk(keys, page_size=3, order_by="name desc")) == sorted(NAMES)


async def test_every_order_holds_while_keys_are_made(keys: Any, consumer: Any, grant: Any) -> None:
    names = iter(["Middle", "aaa", "ZZZ"] * 100)

    async def add() -> None:
        await add_key(grant, consumer, next(names))

    await check_orders_while_rows_come(keys, SORT_KEYS, add)


async def test_words_are_found_as_they_are_written_whatever_their_case(
    consumer: Any, outsider: Any, grant: Any
) -> None:
    one = await add_key(grant, consumer, "Build_Server", "nightly 100%")
    await add_key(grant, consumer, "BuildXServer", r"Ärger \o/")
    await add_key(grant, outsider, "Build_Server", "nightly 100%")
    queries = (
        "build",
        "BUILD nightly",
        "d_s",
        "%",
        "ärger",
        "\\o",
        one.key.key_prefix,
        "ams_live_",
        "none",
        "n%1",
    )
    found = {
        query: [key.name for key in await walk(partial(consumer, "ListKeys"), query=query, order_by="name")]
        for query in queries
    }
    assert found == {
        "build": ["Build_Server", "BuildXServer"],
        "BUILD nightly": ["Build_Server"],
        "d_s": ["Build_Server"],
        "%": ["Build_Server"],
        "ärger": ["BuildXServer"],
        "\\o": ["BuildXServer"],
        one.key.key_prefix: ["Build_Server"],
        "ams_live_": ["Build_Server", "BuildXServer"],
        "none": [],
        "n%1": [],
    }
