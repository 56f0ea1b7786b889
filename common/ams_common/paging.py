"""Keyset paging: what a request asks of a list, the page that it gets, and the opaque token between two
pages, which holds the list's order and the sort key of the last row shown."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.orders import Order

T = TypeVar("T")
U = TypeVar("U")

_DEFAULT_PAGE_SIZE = 50
_NUMERIC = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_MAX_TOKEN_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """`size` rows, 0: the usual number; `token` "": from the start; `order_by` "": in the list's default."""

    size: int = 0
    token: str = ""
    order_by: str = ""

    @property
    def row_count(self) -> int:
        """How many rows are shown at most."""
        return self.size or _DEFAULT_PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows to show, and the token of those that follow ("": none do)."""

    rows: Sequence[T]
    next_token: str

    def map(self, make: Callable[[T], U]) -> "Page[U]":
        """The same page of what `make` makes of its rows."""
        return Page([make(row) for row in self.rows], self.next_token)


def page_request(request: Message) -> PageRequest:
    """What a List request says; one without `order_by` has the default order only."""
    asked: Any = request
    return PageRequest(asked.page_size, asked.page_token, getattr(request, "order_by", ""))


def patterns_of(query: str) -> list[str]:
    """For `ILIKE ALL`: a pattern for each word of a search, in which no character means anything else."""
    return ["%" + re.sub(r"([%_\\])", r"\\\1", word) + "%" for word in query.split()]


def encode_page_token(order: Order, key: Sequence[Any]) -> str:
    """The token for "after the row with this sort key" in this order."""
    texts = [value.isoformat() if isinstance(value, datetime) else str(value) for value in key]
    text = json.dumps([str(order), *texts], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_page_token(token: str, order: Order) -> list[Any]:
    """The sort key to go on after. Raises InvalidArgumentError page_token_invalid, also for a token of
    another order."""
    try:
        if len(token) > _MAX_TOKEN_LENGTH:
            raise ValueError("too long")
        of_order, *texts = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if of_order != str(order):
            raise ValueError("of another order")
        return [_VALUES[c.type](text) for c, text in zip(order.columns, texts, strict=True)]
    except (ValueError, OverflowError, TypeError, AttributeError, RecursionError):
        violation = FieldViolation("pageToken", "is not a token that this list gave out in this order")
        raise InvalidArgumentError(
            "page_token_invalid", "This page token is not valid.", [violation]
        ) from None


def _text(text: str) -> str:
    if not isinstance(text, str) or "\0" in text:
        raise ValueError("no text that PostgreSQL takes")
    text.encode()  # nor does it take half a surrogate pair
    return text


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC)  # what UTC can't tell, PostgreSQL can't take


def _numeric(text: str) -> Decimal:
    if not _NUMERIC.fullmatch(text):
        raise ValueError("not a plain number")
    return Decimal(text)


# By PostgreSQL's name of the type. Each raises ValueError, OverflowError, TypeError or AttributeError.
_VALUES: dict[str, Callable[[str], Any]] = {
    "text": _text,
    "timestamptz": _moment,
    "numeric": _numeric,
    "uuid": UUID,
}
