"""What holds for every list that can be sorted, whatever is in it."""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from itertools import permutations
from typing import Any

import pytest

from ams_common.errors import AppError, InvalidArgumentError

# `await ask(order_by="name")`: the List RPC's answer. Raises the AppError that it is refused with.
Ask = Callable[..., Awaitable[Any]]
# What a list is sorted by, in Python: from a row's message, without the id.
SortKeys = Mapping[str, Callable[[Any], Any]]

_NO_TEXTS: tuple[Any, ...] = (7, None, True, ["x"], {"a": 1}, "\0", "\ud800")
_NO_ORDERS = ("nothing", "{0} asc", "{0} desc desc", "{0}, {0}", "{0};--", "{0}\tdesc", "desc", "-{0}", ",")


async def nothing() -> None:
    """The default of `walk`: nothing happens between two pages."""


async def walk(ask: Ask, between: Callable[[], Awaitable[Any]] = nothing, **fields: Any) -> list[Any]:
    """The rows of all pages, in the order in which they came."""
    rows, token = [], ""
    while True:
        answer = await ask(page_token=token, **fields)
        page = rows_of(answer)
        assert len(page) <= fields.get("page_size", 200)
        rows += page
        token = answer.next_page_token
        if not token:
            return rows
        await between()


def rows_of(answer: Any) -> list[Any]:
    """The rows in a List RPC's answer."""
    (field,) = [field for field in answer.DESCRIPTOR.fields if field.is_repeated]
    return list(getattr(answer, field.name))


def id_of(row: Any) -> str:
    """A row's id is its first field."""
    return str(getattr(row, row.DESCRIPTOR.fields[0].name))


def _with_id(key: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Rows with the same key are sorted by their ids."""
    return lambda row: (key(row), id_of(row))


async def check_orders(ask: Ask, sort_keys: SortKeys, default: str) -> None:
    """Each order both ways, over pages of two: every row once, where Python's sort puts it. Each key must
    have ties among the rows, and more than one value, or there is nothing to be seen."""
    rows = await walk(ask)
    for name, key in sort_keys.items():
        assert 1 < len({key(row) for row in rows}) < len(rows), f"the rows are no test of {name}"
        ascending = [id_of(row) for row in sorted(rows, key=_with_id(key))]
        for order_by, expected in ((f" {name} ", ascending), (f"{name}   desc", ascending[::-1])):
            shown = await walk(ask, page_size=2, order_by=order_by)
            assert [id_of(row) for row in shown] == expected, order_by
    assert rows == await walk(ask, page_size=2) == await walk(ask, order_by=default)
    await _check_order_refusals(ask, next(iter(sort_keys)))
    await _check_token_refusals(ask, sort_keys)


async def check_orders_while_rows_come(
    ask: Ask, sort_keys: SortKeys, add: Callable[[], Awaitable[Any]]
) -> None:
    """What was there at the start is shown once and in order, though `add` puts a row in between pages."""
    there = {id_of(row) for row in await walk(ask)}
    for name, key in sort_keys.items():
        for order_by in (name, f"{name} desc"):
            left = 3  # else a list that grows as fast as it is read has no end

            async def between() -> None:
                nonlocal left
                if left:
                    left -= 1
                    await add()

            shown = await walk(ask, between, page_size=2, order_by=order_by)
            ids = [id_of(row) for row in shown]
            assert len(set(ids)) == len(ids) and there <= set(ids), order_by
            ordered = sorted(shown, key=_with_id(key))
            assert shown == (ordered[::-1] if order_by.endswith("desc") else ordered), order_by


async def _check_order_refusals(ask: Ask, name: str) -> None:
    for template in _NO_ORDERS:
        order_by = template.format(name)
        with pytest.raises(InvalidArgumentError) as refused:
            await ask(order_by=order_by)
        assert _code_and_fields(refused.value) == ("order_by_invalid", ["orderBy"]), order_by


async def _check_token_refusals(ask: Ask, sort_keys: SortKeys) -> None:
    orders = [*sort_keys, *(f"{name} desc" for name in sort_keys)]
    tokens = {order: (await ask(page_size=1, order_by=order)).next_page_token for order in orders}
    for one, other in permutations(orders, 2):
        await _check_refused(ask, tokens[one], other)
    for order, token in tokens.items():
        for broken in _broken(token):
            await _check_refused(ask, broken, order)


def _broken(token: str) -> list[str]:
    """Tokens that no list gave out, ever nearer to the one that it did."""
    parts = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    wrong: list[Any] = [
        [*parts[:at], no_text, *parts[at + 1 :]] for at in range(len(parts)) for no_text in _NO_TEXTS
    ]
    wrong += [[], parts[:-1], [*parts, parts[-1]], {"a": 1}, 7, [[[[]]]], parts[1:]]
    texts = ["x", "é", "W10", *(base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in wrong)]
    return [text for text in texts if len(text) <= 200]


async def _check_refused(ask: Ask, token: str, order_by: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await ask(page_token=token, order_by=order_by)
    assert _code_and_fields(refused.value) == ("page_token_invalid", ["pageToken"]), (token, order_by)


def _code_and_fields(error: AppError) -> tuple[str, list[str]]:
    return error.code, [violation.field for violation in error.violations]
