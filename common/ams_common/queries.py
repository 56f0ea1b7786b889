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

What several queries say alike, such as a list of columns, stands once as a fragment, before its users:

-- fragment: key_columns
key_id, name, created_at
-- name: list_all_keys
SELECT {key_columns} FROM keys;

A store is a class that declares what it takes from the file, a line each (see QueryStore).
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

import asyncpg

from ams_common.orders import Order, Orders
from ams_common.paging import Page, PageRequest, decode_page_token, encode_page_token

T = TypeVar("T")
Row = Mapping[str, Any]

_SECTION = re.compile(r"^-- (name|fragment): ([a-z][a-z0-9_]*)$", re.MULTILINE)
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
        fragments: dict[str, str] = {}
        sql_by_name: dict[str, str] = {}
        sections = _SECTION.split(text)[1:]
        for kind, name, sql in zip(sections[::3], sections[1::3], sections[2::3], strict=True):
            if name in fragments or name in sql_by_name:
                raise ValueError(f"two queries have the same name: {name}")
            for fragment, words in fragments.items():
                sql = sql.replace(f"{{{fragment}}}", words)
            if kind == "fragment":
                fragments[name] = sql.strip()
            else:
                sql_by_name[name] = sql
        self._names = list(sql_by_name)
        self._lists = {
            name: _List.parse(name, sql) for name, sql in sql_by_name.items() if _ORDER.search(sql)
        }
        self._queries = {
            name: _parse(name, sql) for name, sql in sql_by_name.items() if name not in self._lists
        }

    @classmethod
    def load(cls, package: str, file: str = "queries.sql") -> "Queries":
        """Read the queries of an installed package."""
        return cls((files(package) / file).read_text())

    def names(self) -> list[str]:
        """All names, in the order of the file."""
        return list(self._names)

    def orders(self, name: str) -> Orders:
        """The orders of a list."""
        return self._lists[name].orders

    def orders_of(self) -> dict[str, list[str]]:
        """The lists among the queries, and of each its orders, both ways."""
        return {name: list(listed.first) for name, listed in self._lists.items()}

    async def one(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> asyncpg.Record | None:
        """Runs a query and returns its first row, or None."""
        query = self._queries[name]
        return await connection.fetchrow(query.sql, *query.arguments(values))

    async def many(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> list[asyncpg.Record]:
        """Runs a query and returns all of its rows."""
        query = self._queries[name]
        rows: list[asyncpg.Record] = await connection.fetch(query.sql, *query.arguments(values))
        return rows

    async def value(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> Any:
        """The first column of the first row, or None."""
        query = self._queries[name]
        return await connection.fetchval(query.sql, *query.arguments(values))

    async def run(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> int:
        """Runs a statement and returns how many rows it touched."""
        query = self._queries[name]
        status: str = await connection.execute(query.sql, *query.arguments(values))
        return int(status.rsplit(" ", 1)[-1]) if status[-1:].isdigit() else 0

    async def chunks(
        self, connection: asyncpg.Connection, name: str, size: int, timeout_s: float, /, **values: Any
    ) -> AsyncIterator[list[asyncpg.Record]]:
        """All rows of a query, at most `size` at a time, each time within `timeout_s`: no more are in memory,
        however many there are."""
        query = self._queries[name]
        cursor = await connection.cursor(query.sql, *query.arguments(values), timeout=timeout_s)
        while rows := await cursor.fetch(size, timeout=timeout_s):
            yield rows

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

    async def explain(self, connection: asyncpg.Connection, name: str, /, **values: Any) -> str:
        """How the server would run a query that is no list: for tests of indexes."""
        query = self._queries[name]
        rows = await connection.fetch("EXPLAIN " + query.sql, *query.arguments(values))
        return "\n".join(row[0] for row in rows)

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


class _Declared(Generic[T]):
    """A query as an attribute of a store: called with the query's parameters by name."""

    def __init__(self, fetch: Callable[..., Awaitable[T]]) -> None:
        self._fetch = fetch

    def __set_name__(self, owner: type["QueryStore"], name: str) -> None:
        # A store that does more than forward declares the query privately and calls it.
        self.query = name.removeprefix("_")

    @overload
    def __get__(self, store: None, owner: type["QueryStore"]) -> Self: ...
    @overload
    def __get__(self, store: "QueryStore", owner: type["QueryStore"]) -> Callable[..., Awaitable[T]]: ...
    def __get__(
        self, store: "QueryStore | None", owner: type["QueryStore"]
    ) -> "Self | Callable[..., Awaitable[T]]":
        if store is None:
            return self
        bound = store
        return lambda *wanted, **values: self._fetch(bound, self.query, *wanted, **values)


class QueryStore:
    """A service's statements on one connection, which it is made with for a transaction.

    class Store(QueryStore, package="keys_svc"):
        find_key = one(Key)
        count_active_keys = value(int)

    `await store.find_key(key_id=…)` runs the query `find_key`, and gives a Key or None.
    Raises AttributeError at the class's definition for a name that isn't in the file.
    """

    queries: ClassVar[Queries] = Queries("")

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    def __init_subclass__(cls, package: str = "", file: str = "queries.sql") -> None:
        if package:
            cls.queries = Queries.load(package, file)
        if unknown := cls.declared() - set(cls.queries.names()):
            raise AttributeError(f"no query is called {', '.join(sorted(unknown))}")

    @classmethod
    def declared(cls) -> set[str]:
        """The queries that the store takes from its file: for the test that none lies there unused."""
        members = (member for base in cls.__mro__ for member in vars(base).values())
        return {member.query for member in members if isinstance(member, _Declared)}


def one(
    make: Callable[..., T] | None = None, *, row: Callable[[Row], T] | None = None
) -> _Declared[T | None]:
    """Declares a query of one row, or none: `make` gets its columns by name, or `row` the row itself."""
    read = _reader(make, row)

    async def fetch(store: QueryStore, name: str, /, **values: Any) -> T | None:
        found = await store.queries.one(store.connection, name, **values)
        return None if found is None else read(found)

    return _Declared(fetch)


def many(
    make: Callable[..., T] | None = None, *, row: Callable[[Row], T] | None = None
) -> _Declared[list[T]]:
    """Declares a query of any number of rows; `make` and `row` as in `one`."""
    read = _reader(make, row)

    async def fetch(store: QueryStore, name: str, /, **values: Any) -> list[T]:
        return [read(found) for found in await store.queries.many(store.connection, name, **values)]

    return _Declared(fetch)


def page(
    make: Callable[..., T] | None = None, *, row: Callable[[Row], T] | None = None
) -> _Declared[Page[T]]:
    """Declares a list: called with the PageRequest first. `make` and `row` as in `one`."""
    read = _reader(make, row)

    async def fetch(store: QueryStore, name: str, wanted: PageRequest, /, **values: Any) -> Page[T]:
        return (await store.queries.page(store.connection, name, wanted, **values)).map(read)

    return _Declared(fetch)


def value(kind: Callable[..., T]) -> _Declared[T]:
    """Declares a query of one value of type `kind`, which is always there."""

    async def fetch(store: QueryStore, name: str, /, **values: Any) -> T:
        found: T | None = await store.queries.value(store.connection, name, **values)
        assert found is not None, f"{name} gave no value"
        return found

    return _Declared(fetch)


def maybe_value(kind: Callable[..., T]) -> _Declared[T | None]:
    """Declares a query of one value of type `kind`; None for no row, or NULL."""

    async def fetch(store: QueryStore, name: str, /, **values: Any) -> T | None:
        found: T | None = await store.queries.value(store.connection, name, **values)
        return found

    return _Declared(fetch)


def column(kind: Callable[..., T]) -> _Declared[list[T]]:
    """Declares a query of one column whose values are of type `kind`."""

    async def fetch(store: QueryStore, name: str, /, **values: Any) -> list[T]:
        return [found[0] for found in await store.queries.many(store.connection, name, **values)]

    return _Declared(fetch)


def run() -> _Declared[int]:
    """Declares a statement; when it is called, it returns how many rows it touched."""

    async def fetch(store: QueryStore, name: str, /, **values: Any) -> int:
        return await store.queries.run(store.connection, name, **values)

    return _Declared(fetch)


def _reader(make: Callable[..., T] | None, row: Callable[[Row], T] | None) -> Callable[[Row], T]:
    if make is not None:
        by_name = make
        return lambda found: by_name(**found)
    assert row is not None, "say what a row becomes: make=, or row="
    return row


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
