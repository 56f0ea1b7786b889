"""What differs between two states of a service, field by field, in words that people read. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

from ams.audit.v1.events_pb2 import FieldChange
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.metadata_pb2 import RuntimeParameter
from ams.catalog.v1.openapi_pb2 import OpenapiSummary
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from catalog_svc.documents import summary_text


def value_at(service: pb.Service, path: str) -> Any:
    """The value of a field, "forwarding.quota_per_day" for one inside another."""
    value: Any = service
    for name in path.split("."):
        value = getattr(value, name)
    return value


def is_same(before: pb.Service, after: pb.Service, path: str) -> bool:
    """Whether a field of the two says the same."""
    return bool(value_at(before, path) == value_at(after, path))


def differences(before: pb.Service, after: pb.Service, paths: Iterable[str]) -> list[FieldChange]:
    """What differs in these fields, in the order of their names; fields inside them by themselves."""
    return [change for path in sorted(paths) for change in _differences(before, after, path)]


def _differences(before: pb.Service, after: pb.Service, path: str) -> Iterator[FieldChange]:
    if is_same(before, after, path):
        return
    descriptor = _descriptor_at(path)
    is_told_whole = descriptor.is_repeated or descriptor.message_type is OpenapiSummary.DESCRIPTOR
    if descriptor.message_type is not None and not is_told_whole:
        for inner in descriptor.message_type.fields:
            yield from _differences(before, after, f"{path}.{inner.name}")
        return
    texts = (_text(descriptor, value_at(service, path)) for service in (before, after))
    yield FieldChange(field=path, before=next(texts), after=next(texts))


def _descriptor_at(path: str) -> FieldDescriptor:
    descriptor: Any = pb.Service.DESCRIPTOR
    *outer, last = path.split(".")
    for name in outer:
        descriptor = descriptor.fields_by_name[name].message_type
    found: FieldDescriptor = descriptor.fields_by_name[last]
    return found


def _text(descriptor: FieldDescriptor, value: Any) -> str:
    if descriptor.is_repeated:
        texts = [_parameter_text(item) if isinstance(item, Message) else str(item) for item in value]
        return ("\n" if descriptor.message_type is not None else ", ").join(texts)
    if isinstance(value, OpenapiSummary):
        return summary_text(value)
    if descriptor.enum_type is not None:
        return str(descriptor.enum_type.values_by_number[value].name).lower()
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _parameter_text(parameter: Message) -> str:
    assert isinstance(parameter, RuntimeParameter), "the only message that a service has a list of to change"
    text = parameter.name
    if parameter.default_value:
        text += f" = {parameter.default_value}"
    rules = [
        word
        for word, holds in (("required", parameter.is_required), ("secret", parameter.is_secret))
        if holds
    ]
    if rules:
        text += f" ({', '.join(rules)})"
    return f"{text}: {parameter.description}" if parameter.description else text
