"""JSON Schemas (draft 2020-12, as OpenAPI 3.1 has them) of the protos' messages."""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from ams.policy.v1.policy_pb2 import DATE, EMAIL, MONTH, SLUG, TIME_ZONE, URL, UUID, FieldRule
from ams.policy.v1.policy_pb2 import field as field_option
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from ams_rest.field_paths import is_map, json_fields

Schema: TypeAlias = dict[str, Any]

_INTEGERS: Mapping[int, Schema] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "format": "uint64"},
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
_FORMATS: Mapping[int, Schema] = {
    UUID: {"format": "uuid"},
    EMAIL: {"format": "email"},
    URL: {"format": "uri"},
    SLUG: {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
    DATE: {"format": "date"},
    TIME_ZONE: {"examples": ["Europe/Zurich"]},
    MONTH: {"pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"},
}


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
        return schema

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value, with what its FieldRule demands."""
        rule = field.GetOptions().Extensions[field_option]
        if not self._is_sent:
            # What a field may hold is asked of who sends it. What is stored may be older than the rule.
            rule = FieldRule()
        if is_map(field):
            schema = self._map(field)
        elif field.is_repeated:
            schema = self._list(field, rule)
        else:
            schema = self._single(field) | _bounds(field, rule)
        return schema | self._description(field.full_name)

    def _map(self, field: FieldDescriptor) -> Schema:
        pair = field.message_type
        assert pair is not None, "a map is a list of pairs"
        value = pair.fields_by_name["value"]
        return {"type": "object", "additionalProperties": self._single(value)}

    def _list(self, field: FieldDescriptor, rule: FieldRule) -> Schema:
        item_rule = FieldRule(required=self._is_sent, max_len=rule.max_item_len, format=rule.format)
        schema: Schema = {"type": "array", "items": self._single(field) | _bounds(field, item_rule)}
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


def _bounds(field: FieldDescriptor, rule: FieldRule) -> Schema:
    schema: Schema = {}
    if field.type == FieldDescriptor.TYPE_STRING:
        if least := max(rule.min_len, int(rule.required)):
            schema["minLength"] = least
        if rule.max_len:
            schema["maxLength"] = rule.max_len
        schema |= _FORMATS.get(rule.format, {})
    elif field.cpp_type in _INTEGERS and _INTEGERS[field.cpp_type]["type"] == "integer":
        schema |= {"minimum": rule.min} if rule.HasField("min") else {}
        schema |= {"maximum": rule.max} if rule.HasField("max") else {}
    return schema
