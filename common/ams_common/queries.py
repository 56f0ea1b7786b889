"""Named queries: plain SQL in a file, called by name with named parameters.

-- name: find_key
SELECT * FROM keys WHERE key_id = :key_id AND consumer_id = :consumer_id;

A list declares its orders, the default first: for each its columns' types and expressions, the row's id
last (see orders). {key}, {after} and {order} stand for what depends on them, and PostgreSQL gets a
statement of its own for each order, way, and first or later page: each can be answered from an index.

-- name: list_keys
-- order created_at desc: timestamptz created_at, uuid key_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid key_id
SELECT key_id, name, {key} FROM keys
WHERE consumer_id = :consumer_id AND {after}
ORDER BY {order} LIMIT :limit;
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import asyncpg

from ams_common.orders import Order, Orders
from ams_common.paging import Page, PageRequest, decode_page_token, encode_page_token

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)
_ORDER = re.compile(r"^-- order ([a-z_]+(?: desc)?): (.+)$\n?", re.MULTILINE)
# ":name" but not "::type", and not inside a quoted literal.
_TOKEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|(?<![:\w]):([a-z][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Query:
    """One query, with $1… for its parameters in the order of `parameters`."""

    name: str
    sql: str
    parameters: tuple[str, ...]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the placeholders. Raises TypeError when they aren't exactly those."""
        if values.keys() != set(self.parameters):
            raise TypeError(f"{self.name} takes {sorted(self.parameters)}, not {sorted(values)}")
        return [values[name] for name in self.parameters]


@dataclass(frozen=True, slots=True)
class _List:
    """A query of a list: for each order the statement of the first page and that of a later one."""

    orders: Orders
    first: Mapping[str, Query]
    later: Mapping[str, Query]

    @classmethod
    def parse(cls, name: str, sql: str) -> "_List":
        orders, sql = Orders.parse(_ORDER.findall(sql)), _ORDER.sub("", sql)
        first = {str(order): _parse(name, _ordered(sql, order, "true")) for order in orders.both_ways()}
        later = {
            str(order): _parse(name, _ordered(sql, order, order.after_sql())) for order in orders.both_ways()
        }
        return cls(orders, first, later)


class Queries:
    """The queries of a service, from `<package>/queries.sql`."""

    def __init__(self, text: str) -> None:
        parts = _NAME.split(text)[1:]
        sql_by_name = dict(zip(parts[::2], parts[1::2], strict=True))
        self._names = list(sql_by_name)
        self._lists = {
            name: _List.parse(name, sql) for name, sql in sql_by_name.items() if _ORDER.search(sql)
        }
        self._queries = {
            name: _parse(name, sql) for name, sql in sql_by_name.items() if name not in self._lists
        }
        if len(self._names) != len(parts) // 2:
            raise ValueError("two queries have the same name")

    @classmethod
    def load(cls, package: str, file: str = "queries.sql") -> "Queries":
        """Read the queries of an installed package."""
        return cls((files(package) / file).read_text())

    def names(self) -> list[str]:
        """All names, in the order of the file."""
        return list(self._names)

    async def one(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> asyncpg.Record | None:
        """The first row, or None."""
        query = self._queries[name]
        return await connection.fetchrow(query.sql, *query.arguments(values))

    async def many(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> list[asyncpg.Record]:
        """All rows."""
        query = self._queries[name]
        rows: list[asyncpg.Record] = await connection.fetch(query.sql, *query.arguments(values))
        return rows

    async def value(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> Any:
        """The first column of the first row, or None."""
        query = self._queries[name]
        return await connection.fetchval(query.sql, *query.arguments(values))

    async def run(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> int:
        """How many rows the statement touched."""
        query = self._queries[name]
        status: str = await connection.execute(query.sql, *query.arguments(values))
        return int(status.rsplit(" ", 1)[-1]) if status[-1:].isdigit() else 0

    async def page(
        self, connection: asyncpg.Connection, name: str, wanted: PageRequest, /, **values: Any
    ) -> Page[dict[str, Any]]:
        """The wanted rows of a list. Raises InvalidArgumentError order_by_invalid, page_token_invalid."""
        order = self._lists[name].orders.choose(wanted.order_by)
        query, arguments = self._statement(name, order, wanted, values)
        found = await connection.fetch(query.sql, *arguments)
        shown = found[: wanted.row_count]
        has_more = len(found) > len(shown)
        next_token = encode_page_token(order, order.key_of(shown[-1])) if has_more else ""
        return Page([order.without_key(row) for row in shown], next_token)

    async def explain_page(
        self, connection: asyncpg.Connection, name: str, wanted: PageRequest, /, **values: Any
    ) -> str:
        """How the server would find that page: for tests of indexes."""
        order = self._lists[name].orders.choose(wanted.order_by)
        query, arguments = self._statement(name, order, wanted, values)
        return "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + query.sql, *arguments))

    async def prepare(self, connection: asyncpg.Connection, name: str) -> None:
        """Let the server parse and plan the query, as a test does with each. Raises asyncpg.PostgresError."""
        listed = self._lists.get(name)
        queries = [*listed.first.values(), *listed.later.values()] if listed else [self._queries[name]]
        for query in queries:
            await connection.prepare(query.sql)

    def _statement(
        self, name: str, order: Order, wanted: PageRequest, values: Mapping[str, Any]
    ) -> tuple[Query, list[Any]]:
        # One row more than shown, to know whether there's a next page.
        values = {**values, "limit": wanted.row_count + 1}
        if not wanted.token:
            query = self._lists[name].first[str(order)]
            return query, query.arguments(values)
        query = self._lists[name].later[str(order)]
        return query, query.arguments(values | order.parameters(decode_page_token(wanted.token, order)))


def _ordered(sql: str, order: Order, after: str) -> str:
    parts = {"{key}": order.key_sql(), "{after}": after, "{order}": order.by_sql()}
    for name, part in parts.items():
        if sql.count(name) != 1:
            raise ValueError(f"a list needs one {name}")
        sql = sql.replace(name, part)
    return sql


def _parse(name: str, sql: str) -> Query:
    parameters: list[str] = []

    def place(match: re.Match[str]) -> str:
        parameter = match.group(1)
        if parameter is None:
            return match.group(0)
        if parameter not in parameters:
            parameters.append(parameter)
        return f"${parameters.index(parameter) + 1}"

    return Query(name, _TOKEN.sub(place, sql).strip().rstrip(";"), tuple(parameters))
