"""JSON Schemas (draft 2020-12, as OpenAPI 3.1 has them) of the protos' messages."""

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from typing import Any, TypeAlias

from ams.policy.v1.policy_pb2 import DATE, EMAIL, LINE, MONTH, SLUG, TIME_ZONE, URL, UUID, FieldRule
from ams.policy.v1.policy_pb2 import field as field_option
from ams_common import formats
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from ams_rest.field_paths import is_map, json_fields

Schema: TypeAlias = dict[str, Any]

_INTEGERS: Mapping[int, Schema] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64"},
}
_OTHERS: Mapping[int, Schema] = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
_TEXT_MESSAGES: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "examples": ["1.5s"]},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["description,tags"]},
}
_FORMATS: Mapping[int, str] = {
    UUID: "uuid",
    EMAIL: "email",
    URL: "uri",
    DATE: "date",
    TIME_ZONE: "time-zone",
}
_CONTROLS = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"


def _visible(excluded: str) -> str:
    """The pattern of texts without these characters, and with one that is no space."""
    return rf"[^{excluded}]*[^\s{excluded}][^{excluded}]*"


# What ams_common.fields demands of texts, as patterns of ECMA 262, which know no `fullmatch`.
_PATTERNS: Mapping[int, str] = {
    UUID: formats.UUID.pattern,
    EMAIL: formats.EMAIL.pattern,
    SLUG: formats.SLUG.pattern,
    DATE: formats.DATE.pattern,
    MONTH: formats.MONTH.pattern,
    LINE: _visible(_CONTROLS + r"\t\n\r\u2028-\u202e\u2066-\u2069"),
    # Most of what is accepted: addresses of IPv6 aren't in it.
    URL: r"https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[1-9][0-9]{0,3})?(?:/[!$-;=?-\[\]-~]*)?",
}
_CURRENCY = "[A-Z]{3}"
_TEXT = _visible(_CONTROLS)
_BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"

# Stands behind the name of a message that clients send: what they may leave out they are always given.
_SENT = "Input"


class SchemaError(Exception):
    """A message can't be described."""


class Components:
    """The schemas that the document refers to, by their short names, and which type each is of."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self.comments = comments
        self.schemas: dict[str, Schema] = {}
        self._types: dict[str, str] = {}

    def claim(self, name: str, full_name: str) -> bool:
        """Whether the component has yet to be made. Raises SchemaError when another type has the name."""
        owner = self._types.setdefault(name, full_name)
        if owner != full_name:
            raise SchemaError(f"{owner} and {full_name} would both be called {name}")
        return name not in self.schemas


class Schemas:
    """Makes schemas of what clients send, or of what they are given: then fields that are always there are
    required, which are all but messages, alternatives and those marked optional."""

    def __init__(self, components: Components, *, is_sent: bool) -> None:
        self._components = components
        self._comments = components.comments
        self._is_sent = is_sent

    def reference(self, kind: Descriptor | EnumDescriptor) -> Schema:
        """A reference to the type's component, which is made when first referred to."""
        is_enum = isinstance(kind, EnumDescriptor)
        suffix = _SENT if self._is_sent and not is_enum else ""
        name = kind.full_name.removeprefix(kind.file.package + ".").replace(".", "") + suffix
        schemas = self._components.schemas
        if self._components.claim(name, kind.full_name + suffix):
            schemas[name] = {}  # a place held, for types that hold themselves
            schemas[name] = self._enum(kind) if isinstance(kind, EnumDescriptor) else self.object(kind)
        return {"$ref": f"#/components/schemas/{name}"}

    def object(self, message: Descriptor, without: Collection[str] = ()) -> Schema:
        """The schema of a message; `without` names fields to leave out."""
        if message.full_name.startswith("google.protobuf."):
            raise SchemaError(f"{message.full_name} has a JSON form of its own, not known here")
        fields = [field for field in json_fields(message) if field.name not in without]
        schema: Schema = {"type": "object"} | self._description(message.full_name)
        schema["properties"] = {field.json_name: self.field(field) for field in fields}
        if self._is_sent:
            required = [field.json_name for field in fields if is_required(field)]
        else:
            required = [field.json_name for field in fields if not field.has_presence]
        if required:
            schema["required"] = required
        if self._is_sent:
            schema["additionalProperties"] = False
            if both := list(_alternatives(message)):
                schema["not"] = {"anyOf": [{"required": names} for names in both]}
        return schema

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value in a body, with what its FieldRule demands."""
        rule = field.GetOptions().Extensions[field_option]
        if is_map(field):
            schema = self._map(field)
        elif field.is_repeated:
            schema = self._list(field, rule)
        else:
            schema = self._single(field) | (self._bounds(field, rule) if self._is_sent else {})
        return schema | self._description(field.full_name)

    def parameter(self, field: FieldDescriptor) -> Schema:
        """As `field`, of a value in a path or a query: numbers are digits, and what has a format is never
        empty."""
        rule = FieldRule()
        rule.CopyFrom(field.GetOptions().Extensions[field_option])
        rule.required |= bool(rule.format) and not field.is_repeated
        schema = (
            self._list(field, rule) if field.is_repeated else self._single(field) | self._bounds(field, rule)
        )
        if field.cpp_type == FieldDescriptor.CPPTYPE_INT64:
            schema = {"type": "integer", "format": "int64"} | _range(rule)
        return schema | self._description(field.full_name)

    def _map(self, field: FieldDescriptor) -> Schema:
        pair = field.message_type
        assert pair is not None, "a map is a list of pairs"
        value = pair.fields_by_name["value"]
        return {"type": "object", "additionalProperties": self._single(value)}

    def _list(self, field: FieldDescriptor, rule: FieldRule) -> Schema:
        item = self._single(field)
        if not self._is_sent:
            return {"type": "array", "items": item}
        item_rule = FieldRule(required=True, max_len=rule.max_item_len, format=rule.format)
        schema: Schema = {"type": "array", "items": item | self._bounds(field, item_rule)}
        if rule.required:
            schema["minItems"] = 1
        return schema | ({"maxItems": rule.max_len} if rule.max_len else {})

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.enum_type is not None:
            return self.reference(field.enum_type)
        if field.message_type is not None:
            text_message = _TEXT_MESSAGES.get(field.message_type.full_name)
            return dict(text_message) if text_message else self.reference(field.message_type)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return dict((_INTEGERS | _OTHERS)[field.cpp_type])  # type: ignore[operator]

    def _bounds(self, field: FieldDescriptor, rule: FieldRule) -> Schema:
        """What is demanded of a value that is sent."""
        if field.type == FieldDescriptor.TYPE_STRING:
            return _text(field, rule)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"pattern": f"^{_BASE64}$", "minLength": 4 * rule.min_len} | (
                {"maxLength": 4 * -(-rule.max_len // 3)} if rule.max_len else {}
            )
        if field.cpp_type == FieldDescriptor.CPPTYPE_INT64:
            return {"type": ["string", "integer"], "pattern": _digits(rule)} | _range(rule)
        if field.cpp_type in _INTEGERS:
            return _range(rule)
        if field.enum_type is not None and rule.required:
            return {"not": {"const": field.enum_type.values_by_number[0].name}}
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.FieldMask":
            names = "|".join(masked_names(field))
            return {"pattern": f"^(?:{names})(?:,(?:{names}))*$"}
        return {}

    def _enum(self, enum: EnumDescriptor) -> Schema:
        schema: Schema = {"type": "string", "enum": [value.name for value in enum.values]}
        told = [
            f"{value.name}: {self._comments[f'{enum.full_name}.{value.name}']}"
            for value in enum.values
            if f"{enum.full_name}.{value.name}" in self._comments
        ]
        description = [*self._description(enum.full_name).values(), *told]
        return schema | ({"description": " ".join(description)} if description else {})

    def _description(self, name: str) -> Schema:
        return {"description": self._comments[name]} if name in self._comments else {}


def is_required(field: FieldDescriptor) -> bool:
    """Whether a request without the field is refused: it is required, or its default is out of bounds."""
    rule = field.GetOptions().Extensions[field_option]
    return bool(rule.required or rule.min > 0)


def _text(field: FieldDescriptor, rule: FieldRule) -> Schema:
    if rule.orders:
        return {"enum": [f"{name}{way}" for name in rule.orders for way in ("", " desc")]}
    schema: Schema = {"maxLength": rule.max_len} if rule.max_len else {}
    pattern = _PATTERNS.get(rule.format, _TEXT)
    if field.full_name == "google.type.Money.currency_code":
        pattern = _CURRENCY
    if not rule.required:
        # "" is as good as nothing, and of no format.
        return schema | {"pattern": f"^(?:{pattern})?$"}
    schema |= {"minLength": max(1, rule.min_len), "pattern": f"^{pattern}$"}
    return schema | ({"format": _FORMATS[rule.format]} if rule.format in _FORMATS else {})


def _range(rule: FieldRule) -> Schema:
    least = {"minimum": rule.min} if rule.HasField("min") else {}
    return least | ({"maximum": rule.max} if rule.HasField("max") else {})


def _digits(rule: FieldRule) -> str:
    """The pattern of a whole number of 64 bits within the rule's bounds, as text."""
    if not rule.HasField("min"):
        return "^-?[0-9]{1,18}$"
    most = len(str(rule.max)) - 1 if rule.HasField("max") else 18
    return f"^[1-9][0-9]{{0,{most - 1}}}$" if rule.min > 0 else f"^[0-9]{{1,{most}}}$"


def masked_names(mask: FieldDescriptor) -> list[str]:
    """What a mask may name: the fields beside it that a request may leave out."""
    message = mask.containing_type
    assert message is not None, "a field of a message"
    return [field.json_name for field in json_fields(message) if not is_required(field)]


def _alternatives(message: Descriptor) -> Iterator[list[str]]:
    """Each two fields of which one request has one at most."""
    for oneof in message.oneofs:
        yield from map(list, combinations([field.json_name for field in oneof.fields], 2))
