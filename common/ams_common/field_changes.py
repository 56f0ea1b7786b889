"""What a change has changed, field by field, as the audit log tells it."""

from collections.abc import Collection, Iterator
from typing import Any

from ams.audit.v1.events_pb2 import FieldChange
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from ams_common.money import to_decimal

MASK = "(secret)"
_MOST_CHARACTERS = 1000
_MOST_CHANGES = 100


def field_changes(
    before: Message, after: Message, *, only: Collection[str] = (), masked: Collection[str] = ()
) -> list[FieldChange]:
    """The fields in which two messages of one type differ, by their paths: "price.components[0].rate".

    `only`: the message's own fields to look at; all without it. Of those that are `masked`, or in a field
    that is, only that they have changed is told.
    """
    old, new = _texts(before, only), _texts(after, only)
    paths = [*old, *(path for path in new if path not in old)]
    changes = [
        field_change(path, old.get(path, ""), new.get(path, ""), is_masked=_field_of(path) in masked)
        for path in paths
        if old.get(path) != new.get(path)
    ]
    return changes[:_MOST_CHANGES]


def field_change(field: str, before: object, after: object, *, is_masked: bool = False) -> FieldChange:
    """One field's change; None is said as "". Texts that nobody would read to their end are cut."""
    texts = ["" if value is None else str(value) for value in (before, after)]
    if is_masked:
        texts = [MASK if text else "" for text in texts]
    shown = [text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…" for text in texts]
    return FieldChange(field=field, before=shown[0], after=shown[1])


def _field_of(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def _texts(message: Message, only: Collection[str] = ()) -> dict[str, str]:
    return dict(_walk(message, "", only))


def _walk(message: Message, prefix: str, only: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    field: FieldDescriptor
    for field in message.DESCRIPTOR.fields:  # type: ignore[assignment]  # one of two implementations
        if only and field.name not in only:
            continue
        path, value = f"{prefix}{field.name}", getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from ((f"{path}.{name}", str(value[name])) for name in sorted(value))
        elif field.is_repeated:
            yield from _items(field, value, path)
        elif field.has_presence and not message.HasField(field.name):
            continue
        else:
            yield from _value(field, value, path)


def _items(field: FieldDescriptor, values: Any, path: str) -> Iterator[tuple[str, str]]:
    if field.message_type is None:
        yield path, ", ".join(_scalar(field, value) for value in values)
        return
    for number, value in enumerate(values):
        yield from _value(field, value, f"{path}[{number}]")


def _value(field: FieldDescriptor, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Timestamp):
        yield path, value.ToJsonString()
    elif isinstance(value, Money):
        yield path, f"{to_decimal(value).normalize():f} {value.currency_code}".strip()
    elif isinstance(value, Message):
        yield from _walk(value, f"{path}.")
    else:
        yield path, _scalar(field, value)


def _scalar(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else str(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
