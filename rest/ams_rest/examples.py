"""Examples of messages as JSON, by what their fields are called and may hold. Pure.

They are made from the contracts, so that each call has one and none is out of date.
"""

from collections.abc import Collection, Mapping
from typing import Any

from ams.policy.v1.policy_pb2 import DATE, EMAIL, MONTH, SLUG, TIME_ZONE, URL, UUID, FieldRule
from ams.policy.v1.policy_pb2 import field as field_option
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ams_rest.field_paths import TEXT_MESSAGES, is_map, json_fields
from ams_rest.schemas import masked_names

_ID = "01a2265f-4bf6-7000-81bc-9df971400001"
_FORMATS: Mapping[int, str] = {
    UUID: _ID,
    EMAIL: "cora@example.com",
    URL: "https://api.example.com/v1",
    SLUG: "weather",
    MONTH: "2026-11",
    DATE: "2026-12-15",
    TIME_ZONE: "Europe/Zurich",
}
# By the field's proto name, or its end.
_TEXTS: Mapping[str, str] = {
    "email": "cora@example.com",
    "company_name": "Geo Ltd",
    "merchant_name": "Geo Ltd",
    "service_name": "Weather",
    "display_name": "Geo Ltd",
    "name": "Weather",
    "slug": "weather",
    "description": "Forecasts for every place on earth.",
    "note": "For our route planner.",
    "reason": "Agreed by mail.",
    "version": "1.4.0",
    "key_prefix": "ams_live_3fK9aZ0q",
    "currency_code": "EUR",
    "code": "123456",
    "page_token": "",
    "order_by": "",
    "query": "",
    "url": "https://docs.example.com",
    "first_day": "2026-11-01",
    "last_day": "2026-11-30",
    "day": "2026-11-29",
    "month": "2026-11",
    "number": "2026-0042",
    "time_zone": "Europe/Zurich",
    "allowed_networks": "192.0.2.0/24",
    "cors_origins": "https://app.example.com",
    "_on": "2026-12-15",
    "_id": _ID,
}
_DEPTH = 5


def example_of(
    message: Descriptor, *, is_sent: bool, without: Collection[str] = (), depth: int = 0
) -> dict[str, Any]:
    """The message with every field that it has, of alternatives the first. What is sent leaves out what says
    nothing by itself: tokens of pages, filters."""
    document: dict[str, Any] = {}
    alternatives: set[str] = set()
    for field in json_fields(message):
        oneof = field.containing_oneof
        if field.name in without or (oneof is not None and oneof.name in alternatives):
            continue
        if is_map(field):
            document[field.json_name] = {"reason": "Agreed by mail."}
            continue
        if _is_message(field) and depth >= _DEPTH:
            if field.is_repeated:
                document[field.json_name] = []
            continue
        value = _value(field, is_sent, depth)
        if is_sent and value == "":
            continue
        if oneof is not None:
            alternatives.add(oneof.name)
        document[field.json_name] = [value] if field.is_repeated else value
    return document


def _is_message(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name not in TEXT_MESSAGES


def _value(field: FieldDescriptor, is_sent: bool, depth: int) -> Any:
    rule = field.GetOptions().Extensions[field_option]
    if field.message_type is not None:
        if field.message_type.full_name == "google.type.Money":
            return {"currencyCode": "EUR", "units": "12", "nanos": 500_000_000}
        texts = {
            "google.protobuf.Timestamp": "2026-11-29T14:00:00Z",
            "google.protobuf.Duration": "1.5s",
            "google.protobuf.FieldMask": next(iter(masked_names(field)), ""),
        }
        return texts.get(field.message_type.full_name) or example_of(
            field.message_type, is_sent=is_sent, depth=depth + 1
        )
    if field.enum_type is not None:
        return field.enum_type.values[min(1, len(field.enum_type.values) - 1)].name
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "4u2Oy0GyVd0P1mXbmT8i0A=="
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _text(field.name, rule)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return False
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return 12.5
    number = max(rule.min if rule.HasField("min") else 0, min(30, rule.max if rule.HasField("max") else 30))
    is_long = field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
    return str(number) if is_long else number


def _text(name: str, rule: FieldRule) -> str:
    if rule.format in _FORMATS:
        return _FORMATS[rule.format]
    text = next((text for end, text in _TEXTS.items() if name == end or name.endswith(end)), "text")
    text = text[: rule.max_len] if rule.max_len else text
    return text.ljust(max(rule.min_len, int(rule.required)), "x")
