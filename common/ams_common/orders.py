"""The orders in which a list can be asked for (AIP-132), as its query declares them.

An order is total: its last column is the row's id, so that ties have a place too. All its columns run the
same way, so that "after this row" is one row comparison, which an index in that order answers. No column
may hold NULL.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ams_common.errors import FieldViolation, InvalidArgumentError

_ORDER_BY = re.compile(r" *([a-z_]+)(?: +(desc))? *")


@dataclass(frozen=True, slots=True)
class Column:
    """What is sorted by: an SQL expression, and PostgreSQL's name of its type."""

    type: str
    expression: str


@dataclass(frozen=True, slots=True)
class Order:
    """One order, one way; `str()` of it is what a request says."""

    name: str
    is_descending: bool
    columns: tuple[Column, ...]

    def __str__(self) -> str:
        return f"{self.name} desc" if self.is_descending else self.name

    def key_sql(self) -> str:
        """The sort key of a row, for the SELECT list."""
        return ", ".join(
            f"{column.expression} AS {name}"
            for name, column in zip(self._key_names(), self.columns, strict=True)
        )

    def after_sql(self) -> str:
        """That a row comes after the one with the sort key in the parameters."""
        row = ", ".join(column.expression for column in self.columns)
        key = ", ".join(f":after_{number}::{column.type}" for number, column in enumerate(self.columns))
        return f"({row}) {'<' if self.is_descending else '>'} ({key})"

    def by_sql(self) -> str:
        """For ORDER BY: the same expressions, and so the same collations, as in the comparison."""
        way = "DESC" if self.is_descending else "ASC"
        return ", ".join(f"{column.expression} {way}" for column in self.columns)

    def parameters(self, key: Sequence[Any]) -> dict[str, Any]:
        """The values of the parameters in after_sql()."""
        return {f"after_{number}": value for number, value in enumerate(key)}

    def key_of(self, row: Mapping[str, Any]) -> list[Any]:
        """The sort key in a row that was selected with key_sql()."""
        return [row[name] for name in self._key_names()]

    def without_key(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row as its query names its columns."""
        key_names = self._key_names()
        return {name: value for name, value in row.items() if name not in key_names}

    def _key_names(self) -> list[str]:
        return [f"sort_key_{number}" for number in range(len(self.columns))]


@dataclass(frozen=True, slots=True)
class Orders:
    """The closed set of a list's orders, each both ways; the default is declared first."""

    declared: tuple[Order, ...]

    @classmethod
    def parse(cls, declarations: Sequence[tuple[str, str]]) -> "Orders":
        """Of ("created_at desc", "timestamptz created_at, uuid key_id"). Expressions hold no comma."""
        return cls(tuple(_order(by, columns) for by, columns in declarations))

    def __or__(self, others: "Orders") -> "Orders":
        """Those of both lists, for a list that is read by either of two queries."""
        names = {order.name for order in self.declared}
        return Orders((*self.declared, *(order for order in others.declared if order.name not in names)))

    def both_ways(self) -> list[Order]:
        """Every order that a caller can choose, ascending and descending."""
        return [Order(o.name, way, o.columns) for o in self.declared for way in (False, True)]

    def choose(self, order_by: str) -> Order:
        """The order that a request asks for. Raises InvalidArgumentError order_by_invalid."""
        if not order_by.strip(" "):
            return self.declared[0]
        asked = _ORDER_BY.fullmatch(order_by)
        for order in self.declared:
            if asked is not None and asked[1] == order.name:
                return Order(order.name, asked[2] is not None, order.columns)
        names = ", ".join(order.name for order in self.declared)
        violation = FieldViolation("orderBy", f'must be one of {names}, with " desc" behind it or not')
        raise InvalidArgumentError("order_by_invalid", "This list can't be sorted like that.", [violation])


def _order(by: str, columns: str) -> Order:
    name, _, way = by.partition(" ")
    if way not in ("", "desc"):
        raise ValueError(f"no order: {by}")
    return Order(name, way == "desc", tuple(Column(*column.split(" ", 1)) for column in columns.split(", ")))
