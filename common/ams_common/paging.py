"""Keyset paging: an opaque token that holds the sort key of the last row shown."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from ams_common.errors import FieldViolation, InvalidArgumentError

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 50


def page_limit(page_size: int) -> int:
    """How many rows to ask the database for: one more than shown, to know whether there's a next page."""
    return (page_size or DEFAULT_PAGE_SIZE) + 1


def split_page(rows: Sequence[T], page_size: int) -> tuple[Sequence[T], T | None]:
    """The rows to show, and the last of them if more follow (else None)."""
    size = page_size or DEFAULT_PAGE_SIZE
    return (rows[:size], rows[size - 1]) if len(rows) > size else (rows, None)


def encode_page_token(moment: datetime, row_id: UUID) -> str:
    """The token for "after this row" in an order by (moment, id)."""
    text = json.dumps([moment.isoformat(), str(row_id)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_page_token(token: str) -> tuple[datetime | None, UUID | None]:
    """The row to go on after; (None, None) for the first page. Raises InvalidArgumentError."""
    if not token:
        return None, None
    try:
        moment, row_id = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        after = datetime.fromisoformat(moment)
        if after.tzinfo is None:
            raise ValueError("no time zone")
        return after.astimezone(UTC), UUID(row_id)  # what UTC can't tell, PostgreSQL can't take
    except (ValueError, OverflowError, TypeError, AttributeError, binascii.Error):
        violation = FieldViolation("pageToken", "is not a token that a list gave out")
        raise InvalidArgumentError(
            "page_token_invalid", "This page token is not valid.", [violation]
        ) from None
