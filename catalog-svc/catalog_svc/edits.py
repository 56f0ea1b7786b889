"""What an UpdateService asks for: its mask, checked, and the values it names put into the record.

A field is named as in the contract, and forwarding's by themselves: "forwarding.quota_per_day".
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams_common.errors import FieldViolation, InvalidArgumentError

from catalog_svc import metadata
from catalog_svc.forwarding import forwarding_of
from catalog_svc.metadata import METADATA_FIELDS
from catalog_svc.prices import price_of
from catalog_svc.records import ServiceRecord

REQUIRED = frozenset({"name", "description", "version", "price"})
_FORWARDING = "forwarding"
_FORWARDING_FIELDS = frozenset(
    f"{_FORWARDING}.{field.name}" for field in ForwardingSettings.DESCRIPTOR.fields
)


class WhenLive(Enum):
    """When a change of a service in the marketplace takes effect."""

    AT_ONCE = auto()
    # As a revision that an admin approves.
    ONCE_APPROVED = auto()
    # Never: a price is scheduled, and starts at a midnight that consumers are told of.
    NOT = auto()


# The one table. What consumers chose the service by and where their calls go, an admin looks at; how AMS
# passes calls on is its merchant's own business.
WHEN_LIVE = {
    "price": WhenLive.NOT,
    **dict.fromkeys(
        ("name", "description", "base_url", "documentation_url", "version", "tags", "additional_info"),
        WhenLive.ONCE_APPROVED,
    ),
    **dict.fromkeys(METADATA_FIELDS, WhenLive.ONCE_APPROVED),
    **dict.fromkeys(_FORWARDING_FIELDS, WhenLive.AT_ONCE),
    **dict.fromkeys(
        (
            "rate_limit_per_minute",
            "forwarding.quota_per_day",
            "forwarding.quota_per_month",
            "forwarding.limit_scope",
        ),
        WhenLive.ONCE_APPROVED,
    ),
}
FIELDS = frozenset(WHEN_LIVE)
CHANGEABLE = frozenset(name.partition(".")[0] for name in FIELDS)
# A path may be as long as a request: not all of it goes into the error.
_SHOWN_PATH_LENGTH = 80


def masked_fields(request: pb.UpdateServiceRequest) -> frozenset[str]:
    """The fields to change, "forwarding" as each of its own. Raises InvalidArgumentError
    update_mask_invalid, or field_required for a field that the mask names and the request leaves blank."""
    paths = frozenset(request.update_mask.paths)
    if not paths:
        raise _mask_error("names no field")
    if unknown := sorted(paths - FIELDS - CHANGEABLE):
        raise _mask_error(f"names {unknown[0][:_SHOWN_PATH_LENGTH]!r}, which can't be changed")
    if blank := sorted(path for path in paths & REQUIRED if not _is_given(request, path)):
        violations = [FieldViolation(json_name(path), "is required") for path in blank]
        raise InvalidArgumentError("field_required", f"{blank[0]} is required.", violations)
    return paths - {_FORWARDING} | (_FORWARDING_FIELDS if _FORWARDING in paths else frozenset())


def json_name(field: str) -> str:
    """How JSON names a field: "baseUrl" for "base_url"."""
    words = field.split("_")
    return words[0] + "".join(word.capitalize() for word in words[1:])


def apply_edit(
    record: ServiceRecord, request: pb.UpdateServiceRequest, fields: Iterable[str], now: datetime
) -> ServiceRecord:
    """The record with `fields` as in the request. Raises InvalidArgumentError price_invalid,
    cors_origin_invalid, category_unknown, runtime_parameter_invalid, or that something isn't for its type."""
    named = frozenset(fields)
    values: dict[str, Any] = {
        field: _value(record, request, field)
        for field in named - METADATA_FIELDS
        if not field.startswith(_FORWARDING)
    }
    if within := [path.partition(".")[2] for path in named if path.startswith(_FORWARDING)]:
        wanted = forwarding_of(request.forwarding)
        values[_FORWARDING] = replace(record.forwarding, **{name: getattr(wanted, name) for name in within})
    if of_metadata := named & METADATA_FIELDS:
        changed = metadata.with_fields(record.metadata, request, of_metadata)
        values["metadata"] = metadata.for_type(changed, record.type)
    return replace(record, **values, updated_at=now)


def _is_given(request: pb.UpdateServiceRequest, path: str) -> bool:
    return request.HasField("price") if path == "price" else bool(getattr(request, path).strip())


def _value(record: ServiceRecord, request: pb.UpdateServiceRequest, field: str) -> Any:
    if field == "price":
        return price_of(request.price, record.type)
    return unique_tags(request.tags) if field == "tags" else getattr(request, field)


def unique_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """`tags` without repetitions, in their order."""
    return tuple(dict.fromkeys(tags))


def _mask_error(problem: str) -> InvalidArgumentError:
    violation = FieldViolation("updateMask", problem)
    return InvalidArgumentError("update_mask_invalid", f"The update mask {problem}.", [violation])
