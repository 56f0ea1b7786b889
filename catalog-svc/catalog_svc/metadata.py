"""What is told of a service besides its texts and its price, in requests, rows and answers."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ams.catalog.v1 import metadata_pb2 as pb
from ams_common.categories import CATEGORIES
from ams_common.errors import FieldViolation, InvalidArgumentError

PUBLIC, PRIVATE = "public", "private"

_METHODS = {
    "api_key_only": pb.API_KEY_ONLY,
    "service_token": pb.SERVICE_TOKEN,
    "oauth2": pb.OAUTH2,
    "other": pb.OTHER_AUTHENTICATION,
}
_VISIBILITIES = {PUBLIC: pb.PUBLIC, PRIVATE: pb.PRIVATE}
_IMAGE_TYPES = {
    "": pb.IMAGE_TYPE_UNSPECIFIED,
    "api_container": pb.API_CONTAINER,
    "worker": pb.WORKER,
    "batch_processor": pb.BATCH_PROCESSOR,
    "offline_licensed": pb.OFFLINE_LICENSED,
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class RuntimeParameter:
    """An environment variable that an image reads."""

    name: str
    description: str = ""
    is_required: bool = False
    default_value: str = ""
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """The fields are columns of the same names, and enums are the database's words.

    `availability_ppm` and `latency_p95_ms` of 0 promise nothing. `image_type` is "" for an API.
    """

    authentication_method: str = "api_key_only"
    formats: tuple[str, ...] = ()
    availability_ppm: int = 0
    latency_p95_ms: int = 0
    support_email: str = ""
    support_url: str = ""
    categories: tuple[str, ...] = ()
    visibility: str = PUBLIC
    image_type: str = ""
    runtime_parameters: tuple[RuntimeParameter, ...] = ()
    skips_request_size: bool = False
    skips_response_size: bool = False


def _word(words: Mapping[str, int], value: int, otherwise: str) -> str:
    """The database's word for an enum's value; `otherwise` for none."""
    return next((word for word, known in words.items() if known == value and value), otherwise)


# By a request's field: what it sets of the metadata.
_READERS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "authentication_method": lambda value: {"authentication_method": _word(_METHODS, value, "api_key_only")},
    "formats": lambda value: {"formats": tuple(dict.fromkeys(value))},
    "service_levels": lambda value: {
        "availability_ppm": value.availability_ppm,
        "latency_p95_ms": value.latency_p95_ms,
    },
    "support_contact": lambda value: {"support_email": value.email, "support_url": value.url},
    "categories": lambda value: {"categories": _categories(value)},
    "visibility": lambda value: {"visibility": _word(_VISIBILITIES, value, PUBLIC)},
    "image_type": lambda value: {"image_type": _word(_IMAGE_TYPES, value, "")},
    "runtime_parameters": lambda value: {"runtime_parameters": _runtime_parameters(value)},
    "tracing": lambda value: {
        "skips_request_size": value.skips_request_size,
        "skips_response_size": value.skips_response_size,
    },
}
METADATA_FIELDS = frozenset(_READERS)


def with_fields(metadata: Metadata, request: Any, names: Iterable[str]) -> Metadata:
    """The metadata with those of a request's fields that are named. Raises InvalidArgumentError
    category_unknown or runtime_parameter_invalid."""
    changes: dict[str, Any] = {}
    for name in names:
        changes.update(_READERS[name](getattr(request, name)))
    return replace(metadata, **changes)


def metadata_of(request: Any, service_type: str) -> Metadata:
    """What a CreateServiceRequest says; raises as with_fields."""
    return for_type(with_fields(Metadata(), request, METADATA_FIELDS), service_type)


def for_type(metadata: Metadata, service_type: str) -> Metadata:
    """With the type that an image has without one. Raises InvalidArgumentError metadata_not_for_apis or
    metadata_not_for_images."""
    if service_type == "docker":
        if metadata.skips_request_size or metadata.skips_response_size:
            raise _misplaced("metadata_not_for_images", "tracing", "a Docker service, which nobody calls")
        return metadata if metadata.image_type else replace(metadata, image_type="api_container")
    if metadata.image_type:
        raise _misplaced("metadata_not_for_apis", "imageType", "an API")
    if metadata.runtime_parameters:
        raise _misplaced("metadata_not_for_apis", "runtimeParameters", "an API")
    return metadata


def message_fields(metadata: Metadata) -> dict[str, Any]:
    """The fields of a Service and of a MarketplaceService."""
    return {
        "authentication_method": _METHODS[metadata.authentication_method],
        "formats": metadata.formats,
        "service_levels": pb.ServiceLevels(
            availability_ppm=metadata.availability_ppm, latency_p95_ms=metadata.latency_p95_ms
        ),
        "support_contact": pb.SupportContact(email=metadata.support_email, url=metadata.support_url),
        "categories": metadata.categories,
        "visibility": _VISIBILITIES[metadata.visibility],
        "image_type": _IMAGE_TYPES[metadata.image_type],
        "runtime_parameters": [pb.RuntimeParameter(**asdict(each)) for each in metadata.runtime_parameters],
        "tracing": pb.TracingSettings(
            skips_request_size=metadata.skips_request_size, skips_response_size=metadata.skips_response_size
        ),
    }


def from_row(row: Mapping[str, Any]) -> Metadata:
    """Makes what the columns of a row hold."""
    columns = {field.name: row[field.name] for field in fields(Metadata)}
    parameters = json.loads(columns["runtime_parameters"])
    return Metadata(
        **{
            **columns,
            "formats": tuple(columns["formats"]),
            "categories": tuple(columns["categories"]),
            "runtime_parameters": tuple(RuntimeParameter(**each) for each in parameters),
        }
    )


def columns_of(metadata: Metadata) -> dict[str, Any]:
    columns = {field.name: getattr(metadata, field.name) for field in fields(Metadata)}
    parameters = [asdict(each) for each in metadata.runtime_parameters]
    return {**columns, "runtime_parameters": json.dumps(parameters)}


def _categories(slugs: Sequence[str]) -> tuple[str, ...]:
    unknown = [
        FieldViolation(f"categories[{index}]", "is not one of the categories")
        for index, slug in enumerate(slugs)
        if slug not in CATEGORIES
    ]
    if unknown:
        raise InvalidArgumentError("category_unknown", "There is no such category.", unknown)
    return tuple(dict.fromkeys(slugs))


def _runtime_parameters(parameters: Sequence[pb.RuntimeParameter]) -> tuple[RuntimeParameter, ...]:
    violations = []
    seen: set[str] = set()
    for index, each in enumerate(parameters):
        where = f"runtimeParameters[{index}]"
        if not _VARIABLE.fullmatch(each.name):
            violations.append(
                FieldViolation(f"{where}.name", "must be letters, digits and underscores, no digit in front")
            )
        elif each.name in seen:
            violations.append(FieldViolation(f"{where}.name", "must not be there twice"))
        seen.add(each.name)
        if each.default_value and each.is_secret:
            # Everybody sees the list.
            violations.append(FieldViolation(f"{where}.defaultValue", "must be empty for a secret"))
        elif each.default_value and each.is_required:
            violations.append(FieldViolation(f"{where}.defaultValue", "must be empty for what is required"))
    if violations:
        first = violations[0]
        message = f"A runtime parameter can't be used: {first.field} {first.description}."
        raise InvalidArgumentError("runtime_parameter_invalid", message, violations)
    return tuple(
        RuntimeParameter(each.name, each.description, each.is_required, each.default_value, each.is_secret)
        for each in parameters
    )


def _misplaced(code: str, field: str, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        code, f"This doesn't apply to {what}.", [FieldViolation(field, f"must be empty for {what}")]
    )
