"""Whether a JSON value has the shape of a message, by the protobuf JSON mapping.

json_format converts, but it names fields only roughly, quotes values whatever their size, and takes some
wrong types in silence, and several spellings of one value that the OpenAPI document doesn't have: null for
what is left out, enums by number, numbers as text. So what it is given has passed here first. Paths are those
of ams_common.fields.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ams_common.errors import FieldViolation
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from ams_rest.field_paths import find_field, is_map, object_type

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_NAME_LEN = 64

_INTEGER_BITS: Mapping[int, int] = {FieldDescriptor.CPPTYPE_INT32: 32, FieldDescriptor.CPPTYPE_INT64: 64}


def violations(value: Any, descriptor: Descriptor, path: str = "") -> Iterator[FieldViolation]:
    """What keeps `value` from being a message of this type; `path` ends in a dot or is empty."""
    if not isinstance(value, dict):
        yield FieldViolation(path.rstrip("."), "must be an object")
        return
    given: set[str] = set()
    for name, item in value.items():
        field = find_field(descriptor, name)
        if field is None:
            yield FieldViolation(path + shown(name), "is not a known field")
            continue
        if item is None:
            yield FieldViolation(path + field.json_name, "must be left out rather than null")
            continue
        oneof = field.containing_oneof
        if oneof is not None and oneof.full_name in given:
            yield FieldViolation(path + field.json_name, "is given beside its alternative")
        elif oneof is not None:
            given.add(oneof.full_name)
        yield from _field_violations(item, field, path + field.json_name)


def shown(name: str) -> str:
    """A name that came from outside, fit for an answer: short, and encodable."""
    return name[:_MAX_NAME_LEN].encode("utf-8", "backslashreplace").decode()


def _field_violations(value: Any, field: FieldDescriptor, path: str) -> Iterator[FieldViolation]:
    if not field.is_repeated:
        yield from _value_violations(value, field, path)
    elif is_map(field):
        yield from _map_violations(value, field, path)
    elif not isinstance(value, list):
        yield FieldViolation(path, "must be a list")
    else:
        for index, item in enumerate(value):
            yield from _value_violations(item, field, f"{path}[{index}]")


def _map_violations(value: Any, field: FieldDescriptor, path: str) -> Iterator[FieldViolation]:
    if not isinstance(value, dict):
        yield FieldViolation(path, "must be an object")
        return
    pair = field.message_type
    assert pair is not None, "a map is a list of pairs"
    names, values = pair.fields_by_name["key"], pair.fields_by_name["value"]
    for name, item in value.items():
        yield from _value_violations(name, names, f"{path}.{shown(name)}")
        yield from _value_violations(item, values, f"{path}.{shown(name)}")


def _value_violations(value: Any, field: FieldDescriptor, path: str) -> Iterator[FieldViolation]:
    message = field.message_type
    if (inner := object_type(field)) is not None:
        yield from violations(value, inner, f"{path}.")
    elif wrong := _text_message_problem(value, message) if message is not None else _problem(value, field):
        yield FieldViolation(path, wrong)


def _text_message_problem(value: Any, message: Descriptor) -> str | None:
    try:
        if isinstance(value, str) and not _SURROGATE.search(value):
            GetMessageClass(message)().FromJsonString(value)  # type: ignore[attr-defined]
            return None
    except ValueError:
        pass
    if message.name == "Timestamp":
        return "must be a time such as 2026-11-30T12:00:00Z"
    return (
        "must be a list of field names, separated by commas" if message.name == "FieldMask" else "is invalid"
    )


def _problem(value: Any, field: FieldDescriptor) -> str | None:
    """What is wrong with a single value, in words that don't repeat it; None if nothing."""
    if field.cpp_type in _INTEGER_BITS:
        return _integer_problem(value, _INTEGER_BITS[field.cpp_type])
    if field.enum_type is not None:
        return _enum_problem(value, field.enum_type)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return None if isinstance(value, bool) else "must be true or false"
    if not isinstance(value, str):
        return "must be a string"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return None if _BASE64.fullmatch(value) and len(value.rstrip("=")) % 4 != 1 else "must be base64"
    return "must be valid Unicode text" if _SURROGATE.search(value) else None


def _integer_problem(value: Any, bits: int) -> str | None:
    # Numbers of 64 bits may come as text, since not every language's JSON has them.
    is_text = bits == 64 and isinstance(value, str) and _INTEGER.fullmatch(value)
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not (is_text or is_whole):
        return "must be a whole number"
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return None if least <= int(value) <= most else f"must be from {least} to {most}"


def _enum_problem(value: Any, enum: EnumDescriptor) -> str | None:
    is_name = isinstance(value, str) and value.isascii() and value in enum.values_by_name
    return None if is_name else f"must be one of {', '.join(enum.values_by_name)}"
