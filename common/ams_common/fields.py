"""What the fields of a request may hold: `ams.policy.v1.field` of the protos, checked.

`violations(message)` is a pure function; paths are JSON names ("serviceIds[2]").
"""

import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import available_timezones

from ams.policy.v1.policy_pb2 import DATE, EMAIL, LINE, MONTH, SLUG, TIME_ZONE, URL, FieldRule, Format, field
from ams.policy.v1.policy_pb2 import UUID as UUID_FORMAT
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ams_common import formats
from ams_common.errors import FieldViolation


def violations(message: Message, path: str = "") -> list[FieldViolation]:
    """All that is wrong with `message`, its nested messages included."""
    return list(_message_violations(message, path))


def _message_violations(message: Message, path: str) -> Iterator[FieldViolation]:
    descriptor: FieldDescriptor
    for descriptor in message.DESCRIPTOR.fields:  # type: ignore[assignment]  # one of two implementations
        name = f"{path}{descriptor.json_name}"
        rule = descriptor.GetOptions().Extensions[field]
        value = getattr(message, descriptor.name)
        if descriptor.is_repeated:
            yield from _repeated_violations(descriptor, value, rule, name)
        elif descriptor.message_type is not None:
            yield from _nested_violations(message, descriptor, value, rule, name)
        else:
            yield from _scalar_violations(descriptor, value, rule, name)


def _repeated_violations(
    descriptor: FieldDescriptor, value: Any, rule: FieldRule, name: str
) -> Iterator[FieldViolation]:
    if rule.required and not value:
        yield FieldViolation(name, "is required")
    if rule.max_len and len(value) > rule.max_len:
        yield FieldViolation(name, f"must have at most {rule.max_len} items")
        return
    if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
        return
    item_rule = FieldRule(required=True, max_len=rule.max_item_len, format=rule.format)
    for index, item in enumerate(value):
        if isinstance(item, Message):
            yield from _message_violations(item, f"{name}[{index}].")
        elif isinstance(item, str):
            yield from _text_violations(item, item_rule, f"{name}[{index}]")


def _nested_violations(
    message: Message, descriptor: FieldDescriptor, value: Any, rule: FieldRule, name: str
) -> Iterator[FieldViolation]:
    if message.HasField(descriptor.name):
        yield from _message_violations(value, f"{name}.")
    elif rule.required:
        yield FieldViolation(name, "is required")


def _scalar_violations(
    descriptor: FieldDescriptor, value: Any, rule: FieldRule, name: str
) -> Iterator[FieldViolation]:
    if isinstance(value, str):
        yield from _text_violations(value, rule, name)
    elif isinstance(value, bytes):
        if rule.required and not rule.min_len <= len(value) <= (rule.max_len or len(value)):
            yield FieldViolation(name, f"must have {rule.min_len} to {rule.max_len} bytes")
    elif descriptor.enum_type is not None:
        if value not in descriptor.enum_type.values_by_number:
            yield FieldViolation(name, "is not a known value")
        elif rule.required and value == 0:
            yield FieldViolation(name, "is required")
    elif rule.HasField("min") and value < rule.min:
        yield FieldViolation(name, f"must be at least {rule.min}")
    elif rule.HasField("max") and value > rule.max:
        yield FieldViolation(name, f"must be at most {rule.max}")


def _text_violations(value: str, rule: FieldRule, name: str) -> Iterator[FieldViolation]:
    if not value.strip():
        if rule.required or value:
            yield FieldViolation(name, "is required" if rule.required else "must not be blank")
    elif rule.max_len and len(value) > rule.max_len:
        yield FieldViolation(name, f"must have at most {rule.max_len} characters")
    elif len(value) < rule.min_len:
        yield FieldViolation(name, f"must have at least {rule.min_len} characters")
    elif formats.CONTROL.search(value):
        yield FieldViolation(name, "must not contain control characters")
    elif rule.format and (wrong := _format_problem(value, rule.format)):
        yield FieldViolation(name, wrong)


def _format_problem(value: str, kind: Format.ValueType) -> str | None:
    if kind == UUID_FORMAT:
        return None if formats.UUID.fullmatch(value) and UUID(value) else "must be a lower-case UUID"
    if kind == EMAIL:
        return None if formats.EMAIL.fullmatch(value) else "must be an email address"
    if kind == SLUG:
        return (
            None if formats.SLUG.fullmatch(value) else "must be lower-case letters, digits and single hyphens"
        )
    if kind == LINE:
        return None if formats.LINE.fullmatch(value) else "must be one line of plain text"
    if kind == MONTH:
        return None if formats.MONTH.fullmatch(value) else "must be a month such as 2026-11"
    if kind == DATE:
        return None if _is_date(value) else "must be a day such as 2026-11-29"
    if kind == TIME_ZONE:
        return None if value in _time_zones() else "must be a time zone such as Europe/Zurich"
    return _url_problem(value) if kind == URL else None


def _is_date(value: str) -> bool:
    if not formats.DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


@cache
def _time_zones() -> set[str]:
    return available_timezones()


def _url_problem(value: str) -> str | None:
    wrong = "must be an absolute http or https URL without user name or fragment"
    try:
        url = urlsplit(value)
        port_is_valid = url.port is None or url.port > 0
    except ValueError:
        return wrong
    is_plain = value.isascii() and not re.search(r"[\s\\<>\"]", value)
    is_web = url.scheme in ("http", "https") and bool(url.hostname) and port_is_valid
    return None if is_plain and is_web and "@" not in url.netloc and not url.fragment else wrong
