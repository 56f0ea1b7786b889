"""A notification of each kind that has something to say in each of its fields."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ams.identity.v1.notifications_pb2 import Notification
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

KINDS = [field.name for field in Notification.DESCRIPTOR.oneofs_by_name["message"].fields]
# What one message says: each of its wordings must make sense with it.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "ended_by": ("consumer", "merchant", "admin"),
    "decision": ("approved", "rejected", "suspended", "reinstated"),
    "role": ("merchant", "consumer"),
    "standing": ("active", "suspended", "blocked"),
    "factor": ("passkey", "totp"),
    "change": ("joined", "left", "removed", "role_changed", "offered", "handed_over", "closed"),
}
# As many as make every wording of every kind come up.
VARIANTS = 8
# What people would read there.
_USUAL: Mapping[str, str] = {
    "service_name": "Weather",
    "service_slug": "weather",
    "merchant_name": "Geo Ltd",
    "project_name": "Checkout",
    "member_name": "Mika Sato",
    "invited_by": "Carla Rossi",
    "key_name": "Nightly prices",
    "key_prefix": "ams_live_7k2mq9td",
    "passkey_name": "Laptop",
    "token_name": "Nightly report",
    "token_prefix": "ams_pat_1a2b3c4d",
    "found_at": "a public repository, in settings/production.env",
    "reason": "The documentation names another limit than the service has.",
    "number": "2026-0042",
    "first_day": "2026-11-01",
    "last_day": "2026-11-30",
    "due_on": "2026-12-30",
    "starts_on": "2026-12-15",
    "price_before": "EUR 0.002 per request\nNot charged: answers with 5xx.",
    "price_then": "EUR 0.003 per request\nNot charged: answers with 4xx and 5xx.",
    "rule_name": "Spend of the shop",
    "threshold": "EUR 99.90",
    "value": "EUR 101.20",
    "period": "2026-11",
}
_AT = datetime(2026, 12, 24, 18, 30, tzinfo=UTC)


def example(kind: str, text: str = "", number: int = 0) -> Notification:
    """`text`: what every field of text says, in place of the usual; `number` chooses among wordings."""
    made = Notification(notification_id=str(uuid4()), user_id=str(uuid4()))
    message = getattr(made, kind)
    message.SetInParent()  # one without fields is there too
    _fill(message, text, number)
    return made


def _fill(message: Message, text: str, number: int) -> None:
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        value: Any = getattr(message, field.name)
        if field.name in _WORDS:
            setattr(message, field.name, _WORDS[field.name][number % len(_WORDS[field.name])])
        elif field.type == FieldDescriptor.TYPE_BOOL:
            # Not in step with the words, so that they come up with both.
            setattr(message, field.name, bool((number + number // 4) % 2))
        elif field.type == FieldDescriptor.TYPE_INT32:
            setattr(message, field.name, number)
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, text or _USUAL.get(field.name, str(uuid4())))
        elif field.is_repeated:
            value.append(Money(currency_code="EUR", units=3))
        elif isinstance(value, Timestamp):
            value.FromDatetime(_AT)
        else:
            assert isinstance(value, Money), f"{field.name} has no example"
            value.CopyFrom(Money(currency_code="EUR", units=1234, nanos=500_000_000))
