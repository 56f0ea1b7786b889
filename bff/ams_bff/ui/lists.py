"""What a page's URL says of its list: `q` the words looked for, `sort` the order, `page` where it goes on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlencode

# A label; or the label, its cells' class, and what to sort by: "name", or "-created_at", the last first.
Column: TypeAlias = str | Sequence[str]

_MOST_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head. `href`: this page, sorted by it; `direction`: for aria-sort, "" when it isn't."""

    label: str
    style: str = ""
    href: str = ""
    direction: str = ""


@dataclass(frozen=True, slots=True)
class PageUrl:
    """A page's path and query, and the links that change them."""

    path: str
    query: Mapping[str, str]

    def having(self, **parameters: str) -> str:
        """This page with other parameters in its query; "" takes one out."""
        return self.beside(self.path, **parameters)

    def beside(self, path: str, **parameters: str) -> str:
        """Another page with this one's query, and other parameters in it."""
        together = {**self.query, **parameters}
        query = urlencode({name: text for name, text in together.items() if text})
        return f"{path}?{query}" if query else path

    @property
    def words(self) -> str:
        """The words looked for, of the length that the contracts take. Control characters are none."""
        typed = "".join(letter if letter.isprintable() else " " for letter in self.query.get("q", ""))
        return " ".join(typed.split())[:_MOST_CHARACTERS]

    @property
    def page_token(self) -> str:
        return self.query.get("page", "")

    def order_by(self, fields: Collection[str]) -> str:
        """The order as the contracts have it (AIP-132): "-name" is "name desc"; "" for what isn't among the
        fields."""
        sort = self.query.get("sort", "")
        field = sort.removeprefix("-")
        if field not in fields:
            return ""
        return f"{field} desc" if sort.startswith("-") else field

    def heads(self, columns: Sequence[Column], default_sort: str = "") -> list[Head]:
        """The heads of a table; `default_sort` is its order without one in the URL."""
        parts = ([column] if isinstance(column, str) else column for column in columns)
        named = [[*each, "", ""][:3] for each in parts]
        fields = {by.removeprefix("-") for _, _, by in named if by}
        sort = self.query.get("sort", "")
        current = sort if sort.removeprefix("-") in fields else default_sort
        return [self._head(current, *parts) for parts in named]

    def _head(self, current: str, label: str, style: str, by: str) -> Head:
        if not by:
            return Head(label, style)
        field = by.removeprefix("-")
        if current.removeprefix("-") != field:
            return Head(label, style, self.having(sort=by, page=""))
        if current.startswith("-"):
            return Head(label, style, self.having(sort=field, page=""), "descending")
        return Head(label, style, self.having(sort=f"-{field}", page=""), "ascending")

    def is_narrowed(self, *filters: str) -> bool:
        """Whether it looks for words or has one of the filters set: an empty list says so then."""
        return bool(self.words) or any(self.query.get(name) for name in filters)

    def hidden_fields(self, typed: Collection[str]) -> list[tuple[str, str]]:
        """What a search form keeps of the URL: all but what is typed into it, and the page."""
        return [(name, text) for name, text in self.query.items() if name not in (*typed, "page")]
