"""What other services ask to tell a person, as the mails that say it. Pure.

Everything in a message is text that somebody chose: templates escape it, and it never leads anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from ams.identity.v1.notifications_pb2 import Notification
from ams_common.money import to_decimal
from ams_rating.price_words import money
from google.protobuf.message import Message
from google.type.money_pb2 import Money

from identity_svc.mails import Template


class _Page(NamedTuple):
    """Where a notification leads: the path of a page, and which of its fields names the thing there."""

    path: str
    field: str


_PAGES: Mapping[Template, _Page] = {
    Template.PRICE_CHANGE_AHEAD: _Page("/marketplace", "service_slug"),
    Template.INVOICE_ISSUED: _Page("/dashboard/invoices", "invoice_id"),
    Template.REPORT_SHARED: _Page("/dashboard/reports", "report_id"),
    Template.REPORT_READY: _Page("/reports", "report_id"),
    Template.THRESHOLD_REACHED: _Page("/alerts", "alert_id"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told to whom: a template, its values, and the path of the page that it leads to."""

    notification_id: UUID
    user_id: UUID
    template: Template
    values: Mapping[str, object]
    path: str


def told_of(notification: Notification) -> Told:
    """Raises ValueError for what can't be told: a kind that this release doesn't know, ids that are none."""
    kind = notification.WhichOneof("message")
    if kind is None:
        raise ValueError("a notification of a kind that isn't known")
    template, message = Template(kind), getattr(notification, kind)
    page = _PAGES[template]
    return Told(
        notification_id=UUID(notification.notification_id),
        user_id=UUID(notification.user_id),
        template=template,
        values=_values(message),
        path=f"{page.path}/{quote(getattr(message, page.field), safe='')}",
    )


def _values(message: Message) -> Mapping[str, object]:
    return {field.name: _value(getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _value(value: Any) -> object:
    return money(to_decimal(value), value.currency_code) if isinstance(value, Money) else value
