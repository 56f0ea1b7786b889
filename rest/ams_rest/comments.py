"""The comments of the protos, from the descriptor set that `make gen` writes beside them."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import TypeAlias

from google.protobuf import descriptor_pb2

# How a descriptor's path (google.protobuf.SourceCodeInfo.Location.path) spells its steps.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _ENUM_VALUE, _SERVICE_METHOD = 2, 2, 2

Place: TypeAlias = tuple[int, ...]


def load() -> Mapping[str, str]:
    """The comment of each message, field, enum, enum value, service and RPC that has one, by full name;
    lines joined into one paragraph."""
    text = files("ams").joinpath("descriptors.binpb").read_bytes()
    descriptors = descriptor_pb2.FileDescriptorSet.FromString(text)
    return {name: comment for file in descriptors.file for name, comment in _comments_of(file)}


def _comments_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    names = dict(_names_of(file))
    for location in file.source_code_info.location:
        name = names.get(tuple(location.path))
        comment = " ".join((location.leading_comments or location.trailing_comments).split())
        if name is not None and comment:
            yield name, comment


def _names_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[Place, str]]:
    for index, message in enumerate(file.message_type):
        place, name = (_FILE_MESSAGE, index), f"{file.package}.{message.name}"
        yield place, name
        for number, field in enumerate(message.field):
            yield (*place, _MESSAGE_FIELD, number), f"{name}.{field.name}"
    for index, enum in enumerate(file.enum_type):
        place, name = (_FILE_ENUM, index), f"{file.package}.{enum.name}"
        yield place, name
        for number, value in enumerate(enum.value):
            yield (*place, _ENUM_VALUE, number), f"{name}.{value.name}"
    for index, service in enumerate(file.service):
        place, name = (_FILE_SERVICE, index), f"{file.package}.{service.name}"
        yield place, name
        for number, method in enumerate(service.method):
            yield (*place, _SERVICE_METHOD, number), f"{name}.{method.name}"
