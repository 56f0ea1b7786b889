"""ListKeys with a status: what a key is now, whatever the order and the page."""

from functools import partial
from itertools import product
from typing import Any

import pytest
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_EXPIRED, KEY_REVOKED
from ams_common.database import Database
from ams_common.errors import InvalidArgumentError
from ams_common.testing.lists import id_of, walk

STATUSES = (KEY_ACTIVE, KEY_EXPIRED, KEY_REVOKED)
# Nine keys by the order of their making: each third active, expired, revoked after it had expired.
_AGE = """
    UPDATE keys SET created_at = date_trunc('day', now()) - interval '90 days' - rank / 6 * interval '1 s',
        expires_at = now() + interval '1 day' * CASE WHEN rank % 3 = 1 THEN 1 ELSE -1 END,
        revoked_at = CASE WHEN rank % 3 = 0 THEN now() END
    FROM (SELECT key_id, row_number() OVER (ORDER BY key_id) AS rank FROM keys) AS ranked
    WHERE ranked.key_id = keys.key_id
"""


@pytest.fixture
async def keys(consumer: Any, new_key: Any, database: Database) -> Any:
    """Three keys of each status, many of which share their times and all of which share the name."""
    for _ in range(9):
        await new_key(consumer)
    async with database.connection() as connection:
        await connection.execute(_AGE)
    return partial(consumer, "ListKeys")


async def test_each_status_has_its_own_keys_in_every_order_over_pages(keys: Any) -> None:
    for status, order_by in product(STATUSES, ("", "name", "created_at", "expires_at desc")):
        everything = await walk(keys, order_by=order_by)
        shown = await walk(keys, status=status, order_by=order_by, page_size=2)
        assert [id_of(key) for key in shown] == [id_of(key) for key in everything if key.status == status]
        assert len(shown) == 3


async def test_a_status_and_words_narrow_together(keys: Any, consumer: Any, new_key: Any) -> None:
    made = (await new_key(consumer)).key
    assert [key.key_id for key in (await keys(status=KEY_ACTIVE, query=made.key_prefix)).keys] == [
        made.key_id
    ]
    assert not (await keys(status=KEY_EXPIRED, query=made.key_prefix)).keys


async def test_a_key_that_expires_while_one_pages_stands_on_no_later_page(
    keys: Any, database: Database
) -> None:
    first = await keys(status=KEY_ACTIVE, page_size=1)
    async with database.connection() as connection:
        await connection.execute("UPDATE keys SET expires_at = now() WHERE revoked_at IS NULL")
    rest = await keys(status=KEY_ACTIVE, page_size=1, page_token=first.next_page_token)
    assert (list(rest.keys), rest.next_page_token) == ([], "")
    assert len((await keys(status=KEY_EXPIRED)).keys) == 6


async def test_somebody_elses_keys_have_no_status_that_shows_them(keys: Any, outsider: Any) -> None:
    for status in STATUSES:
        assert not (await outsider("ListKeys", status=status)).keys


@pytest.mark.parametrize("status", [-1, 5, 99])
async def test_a_status_that_there_is_not_is_refused(consumer: Any, status: int) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await consumer("ListKeys", status=status)
    assert [violation.field for violation in refused.value.violations] == ["status"]
