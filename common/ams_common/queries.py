"""Named queries: plain SQL in a file, called by name with named parameters.

-- name: find_key
SELECT * FROM keys WHERE key_id = :key_id AND consumer_id = :consumer_id;
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import asyncpg

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)
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


class Queries:
    """The queries of a service, from `<package>/queries.sql`."""

    def __init__(self, text: str) -> None:
        parts = _NAME.split(text)[1:]
        self._queries = {name: _parse(name, sql) for name, sql in zip(parts[::2], parts[1::2], strict=True)}
        if len(self._queries) != len(parts) // 2:
            raise ValueError("two queries have the same name")

    @classmethod
    def load(cls, package: str, file: str = "queries.sql") -> "Queries":
        """Read the queries of an installed package."""
        return cls((files(package) / file).read_text())

    def names(self) -> list[str]:
        """All names, in the order of the file."""
        return list(self._queries)

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

    async def prepare(self, connection: asyncpg.Connection, name: str) -> None:
        """Let the server parse and plan the query, as a test does with each. Raises asyncpg.PostgresError."""
        await connection.prepare(self._queries[name].sql)


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
