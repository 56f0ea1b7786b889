"""Fields of a message by their path: "pageSize", "price.perRequest.amount"."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

FieldPath: TypeAlias = Sequence[FieldDescriptor]

# Messages that are one string in JSON, and so may stand in a query.
TEXT_MESSAGES = frozenset(
    {"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"}
)


def find_field(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    """The field with this JSON or proto name."""
    if not name.isascii():  # protobuf fails to look up what it can't encode
        return None
    by_proto_name: FieldDescriptor | None = descriptor.fields_by_name.get(name)
    if by_proto_name is not None:
        return by_proto_name
    return next((field for field in descriptor.fields if field.json_name == name), None)


def object_type(field: FieldDescriptor) -> Descriptor | None:
    """The message type of a field whose values are JSON objects; None for any other field."""
    message = field.message_type
    return message if message is not None and message.full_name not in TEXT_MESSAGES else None


def resolve(descriptor: Descriptor, text: str) -> FieldPath | None:
    """The fields along a dotted path that ends at a value or a list of values; None if there's no such."""
    *parents, leaf = text.split(".")
    path: list[FieldDescriptor] = []
    for name in parents:
        field = find_field(descriptor, name)
        inner = object_type(field) if field is not None and not field.is_repeated else None
        if field is None or inner is None:
            return None
        path.append(field)
        descriptor = inner
    field = find_field(descriptor, leaf)
    return None if field is None or object_type(field) is not None else [*path, field]


def leaves(descriptor: Descriptor) -> Iterator[FieldPath]:
    """The paths to all values in a message that a query can carry."""
    for field in descriptor.fields:
        inner = object_type(field)
        if inner is None:
            yield [field]
        elif not field.is_repeated:
            yield from ([field, *rest] for rest in leaves(inner))


def json_path(path: FieldPath) -> str:
    """How a path is shown to clients."""
    return ".".join(field.json_name for field in path)
