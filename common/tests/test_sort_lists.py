"""Orders and page tokens, as queries.sql declares them."""

from typing import Any

import pytest
from ams_common.database import Database
from ams_common.errors import InvalidArgumentError
from ams_common.orders import Orders
from ams_common.paging import PageRequest, decode_page_token, encode_page_token, patterns_of
from ams_common.queries import Queries

TEXT = """
-- name: list_things
-- order size desc: numeric size, uuid thing_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid thing_id
SELECT name, {key} FROM (
    SELECT n::numeric / 3 AS size, 'Thing ' || n AS name,
        ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid AS thing_id
    FROM generate_series(1, :count) AS n
) AS things
WHERE {after} ORDER BY {order} LIMIT :limit;
"""
ORDERS = Orders.parse([("size desc", "numeric size, uuid thing_id"), ("name", "text name, uuid thing_id")])


async def test_pages_hold_the_declared_columns_and_follow_each_other(database: Database) -> None:
    queries, token = Queries(TEXT), ""
    names: list[str] = []
    async with database.connection() as connection:
        await queries.prepare(connection, "list_things")
        for size in (2, 2, 1):
            page = await queries.page(connection, "list_things", PageRequest(2, token), count=5)
            assert [list(row) for row in page.rows] == [["name"]] * size
            names, token = names + [row["name"] for row in page.rows], page.next_token
    assert (names, token) == ([f"Thing {n}" for n in (5, 4, 3, 2, 1)], "")


@pytest.mark.parametrize("order_by", ["size desc", " size  desc ", "", "  "])
def test_an_order_is_known_with_redundant_spaces_and_by_default(order_by: str) -> None:
    assert str(ORDERS.choose(order_by)) == "size desc"


@pytest.mark.parametrize(
    "order_by", ["size asc", "SIZE", "size,name", "sizedesc", "desc", "thing_id", "size\n"]
)
def test_any_other_order_is_refused_by_name(order_by: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        ORDERS.choose(order_by)
    assert refused.value.code == "order_by_invalid"
    ((field, description),) = refused.value.violations
    assert (field, description) == ("orderBy", 'must be one of size, name, with " desc" behind it or not')


@pytest.mark.parametrize("size", ["1e400000", "NaN", "Infinity", "0x1", "1" * 41, "١", " 1", ""])
def test_what_is_no_plain_number_is_no_key(size: str) -> None:
    order = ORDERS.choose("size")
    token = encode_page_token(order, [size, "00000000-0000-0000-0000-000000000000"])
    with pytest.raises(InvalidArgumentError, match="page token"):
        decode_page_token(token, order)


def test_no_nesting_and_no_length_is_a_fault() -> None:
    for token in ("W1tb" * 249, "W1tb" * 2_000_000):
        with pytest.raises(InvalidArgumentError, match="page token"):
            decode_page_token(token, ORDERS.choose(""))


def test_a_list_without_its_place_for_the_key_of_a_later_page_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"one \{after\}"):
        Queries("-- name: a\n-- order b: text b\nSELECT {key} FROM a ORDER BY {order}")


def test_every_word_is_a_pattern_of_its_letters_only() -> None:
    expected: list[Any] = ["%a\\%b%", "%\\_%", "%\\\\%", "%é%"]
    assert patterns_of("  a%b _\t\\ é ") == expected
    assert patterns_of(" ") == []
