"""What other services ask to tell a person, worded as the catalogue says. Pure.

Everything in a message is text that somebody chose: it never leads anywhere but to the catalogue's page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

import jinja2
from ams.identity.v1.notifications_pb2 import Notification
from ams_common.clock import from_timestamp
from ams_common.money import to_decimal
from ams_rating.price_words import money
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from identity_svc.notifications.catalogue import CATALOGUE, Kind

# In words of ours, a sentence a line. Any other value is one line, whatever somebody called a service.
_SEVERAL_LINES = frozenset({"price_before", "price_then"})
# For ever the same: what is read again has been told.
_IDS = UUID("6d1c0d5e-7f0a-5b52-9a3e-2f5c8b1e4d07")
# Nothing is escaped here: it is plain text, for a header, a text mail, or a template that escapes it.
_TEMPLATES = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told to whom; `user_id` None: to all admins. `values` are what the wordings need, as JSON has
    it; `path` is the page that it leads to."""

    notification_id: UUID
    user_id: UUID | None
    name: str
    kind: Kind
    values: Mapping[str, object]
    path: str
    occurred_at: datetime | None


def told_of(notification: Notification) -> Told:
    """Raises ValueError for what can't be told: a kind that this release doesn't know, ids that are none."""
    name = notification.WhichOneof("message")
    if name is None or name not in CATALOGUE:
        raise ValueError("a notification of a kind that isn't known")
    kind, values = CATALOGUE[name], values_of(getattr(notification, name))
    is_for_admins = not notification.user_id
    if is_for_admins and not kind.admin_path and not kind.path.startswith("/admin"):
        raise ValueError(f"{name} isn't for admins")
    return Told(
        notification_id=id_of(notification.notification_id),
        user_id=None if is_for_admins else UUID(notification.user_id),
        name=name,
        kind=kind,
        values=values,
        path=path_of(kind, values, is_for_admins=is_for_admins),
        occurred_at=from_timestamp(notification.occurred_at)
        if notification.HasField("occurred_at")
        else None,
    )


def id_of(text: str) -> UUID:
    """What a notification is known by here, whatever its service calls it: "invoice-issued/01a2…" is no UUID,
    and always becomes the same one. Raises ValueError for none."""
    if not text:
        raise ValueError("a notification without an id")
    try:
        return UUID(text)
    except ValueError:
        return uuid5(_IDS, text)


def path_of(kind: Kind, values: Mapping[str, object], *, is_for_admins: bool) -> str:
    """The path of the page that a kind leads to. No value gets out of its place in it."""
    quoted = {name: quote(str(value), safe="") for name, value in values.items()}
    return word(kind.admin_path if is_for_admins and kind.admin_path else kind.path, quoted)


def word(template: str, values: Mapping[str, object]) -> str:
    """One of the catalogue's wordings, as plain text."""
    return _template(template).render(values)


def values_of(message: Message) -> Mapping[str, object]:
    """A message's fields for the wordings: text, whole numbers, truth."""
    return {
        field.name: _value(field.name, getattr(message, field.name)) for field in message.DESCRIPTOR.fields
    }


def _value(name: str, value: Any) -> object:
    match value:
        case bool() | int():
            return value
        case str():
            return value if name in _SEVERAL_LINES else " ".join(value.split())
        case Money():
            return money(to_decimal(value), value.currency_code)
        case Timestamp():
            # "" where it isn't said. The time is the same for every reader.
            return f"{from_timestamp(value):%Y-%m-%d %H:%M} UTC" if value.seconds else ""
        case _:
            return ", ".join(str(_value(name, item)) for item in value)


@cache
def _template(text: str) -> jinja2.Template:
    return _TEMPLATES.from_string(text)
