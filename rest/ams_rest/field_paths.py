"""Fields of a message by their path: "pageSize", "price.perRequest.amount"."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

FieldPath: TypeAlias = Sequence[FieldDescriptor]

# Messages that are one string in JSON, and so may stand in a query.
TEXT_MESSAGES = frozenset(
    {"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"}
)


# What the headers Idempotency-Key and If-Match say of a request. It stands nowhere else, so that nothing can
# be said twice.
IDEMPOTENCY_KEY = "idempotency_key"
ETAG = "etag"


def json_fields(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields that a message has in JSON: all but what a header says."""
    said_by_headers = {IDEMPOTENCY_KEY, ETAG} if descriptor.name.endswith("Request") else set()
    return (field for field in descriptor.fields if field.name not in said_by_headers)


def has_field(descriptor: Any, name: str) -> bool:
    """Whether the message has a field of this proto name."""
    return name in descriptor.fields_by_name


def find_field(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    """The field with this JSON name, the only spelling that clients may use."""
    return next((field for field in json_fields(descriptor) if field.json_name == name), None)


def is_map(field: FieldDescriptor) -> bool:
    """Whether it is a map: in JSON an object with any names, though its descriptor is a list of pairs."""
    message = field.message_type
    return message is not None and message.GetOptions().map_entry


def object_type(field: FieldDescriptor) -> Descriptor | None:
    """The message type of a field whose values are JSON objects; None for any other field."""
    message = field.message_type
    return message if message is not None and message.full_name not in TEXT_MESSAGES else None


def resolve(descriptor: Descriptor, text: str) -> FieldPath | None:
    """The fields along a dotted path of JSON names that ends at a value or a list of values; None if there's
    no such."""
    return _walk(descriptor, text, find_field)


def resolve_template(descriptor: Descriptor, text: str) -> FieldPath | None:
    """As `resolve`, for a path template's variable, which names fields as the proto does."""
    return _walk(descriptor, text, lambda message, name: message.fields_by_name.get(name))


def _walk(
    descriptor: Descriptor, text: str, find: Callable[[Descriptor, str], FieldDescriptor | None]
) -> FieldPath | None:
    *parents, leaf = text.split(".")
    path: list[FieldDescriptor] = []
    for name in parents:
        field = find(descriptor, name)
        inner = object_type(field) if field is not None and not field.is_repeated else None
        if field is None or inner is None:
            return None
        path.append(field)
        descriptor = inner
    field = find(descriptor, leaf)
    return None if field is None or object_type(field) is not None else [*path, field]


def leaves(descriptor: Descriptor) -> Iterator[FieldPath]:
    """The paths to all values in a message that a query can carry."""
    for field in json_fields(descriptor):
        inner = object_type(field)
        if inner is None:
            yield [field]
        elif not field.is_repeated:
            yield from ([field, *rest] for rest in leaves(inner))


def json_path(path: FieldPath) -> str:
    """How a path is shown to clients."""
    return ".".join(field.json_name for field in path)
