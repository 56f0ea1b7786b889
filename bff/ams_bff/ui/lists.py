"""What the URL says of a list: `q` the words looked for, `sort` the order, `page` where it goes on."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # visits know pages, and pages this
    from ams_bff.http.visits import Visit

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


def words(visit: "Visit") -> str:
    """The words looked for, of the length that the contracts take. Control characters are none."""
    typed = "".join(letter if letter.isprintable() else " " for letter in visit.query.get("q", ""))
    return " ".join(typed.split())[:_MOST_CHARACTERS]


def order_by(visit: "Visit", fields: Collection[str]) -> str:
    """The URL's sort as the contracts have it (AIP-132): "-name" is "name desc"; "" for what isn't among the
    fields."""
    sort = visit.query.get("sort", "")
    field = sort.removeprefix("-")
    if field not in fields:
        return ""
    return f"{field} desc" if sort.startswith("-") else field


def page_token(visit: "Visit") -> str:
    """Where the list goes on."""
    return visit.query.get("page", "")


def heads(visit: "Visit | None", columns: Sequence[Column], default_sort: str = "") -> list[Head]:
    """The heads of a table; `default_sort` is its order without one in the URL. Without a visit none can be
    sorted by."""
    named = [_parts(column) for column in columns]
    if visit is None:
        return [Head(label, style) for label, style, _ in named]
    keys = {key.removeprefix("-") for _, _, key in named if key}
    sort = visit.query.get("sort", "")
    current = sort if sort.removeprefix("-") in keys else default_sort
    return [_head(visit, current, *parts) for parts in named]


def _parts(column: Column) -> tuple[str, str, str]:
    if isinstance(column, str):
        return column, "", ""
    label, style, key = [*column, "", ""][:3]
    return label, style, key


def _head(visit: "Visit", current: str, label: str, style: str, key: str) -> Head:
    if not key:
        return Head(label, style)
    field = key.removeprefix("-")
    if current.removeprefix("-") != field:
        return Head(label, style, visit.url_with(sort=key, page=""))
    is_descending = current.startswith("-")
    other = field if is_descending else f"-{field}"
    direction = "descending" if is_descending else "ascending"
    return Head(label, style, visit.url_with(sort=other, page=""), direction)


def is_narrowed(visit: "Visit", *filters: str) -> bool:
    """Whether the URL looks for words or has one of the filters set: an empty list says so then."""
    return bool(words(visit)) or any(visit.query.get(name) for name in filters)


def hidden_fields(visit: "Visit", typed: Collection[str]) -> list[tuple[str, str]]:
    """What a search form keeps of the URL: all but what is typed into it, and the page."""
    return [(name, text) for name, text in visit.query.items() if name not in (*typed, "page")]
