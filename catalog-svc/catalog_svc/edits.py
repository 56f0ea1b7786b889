"""What an UpdateService asks for: its mask, checked, and the values it names put into the record."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.errors import FieldViolation, InvalidArgumentError

from catalog_svc.forwarding import forwarding_of
from catalog_svc.prices import price_of
from catalog_svc.records import ServiceRecord

REQUIRED = frozenset({"name", "description", "version", "price"})
CHANGEABLE = REQUIRED | {
    "base_url",
    "documentation_url",
    "tags",
    "rate_limit_per_minute",
    "additional_info",
    "forwarding",
}
# A path may be as long as a request: not all of it goes into the error.
_SHOWN_PATH_LENGTH = 80


def masked_fields(request: pb.UpdateServiceRequest) -> frozenset[str]:
    """The fields to change. Raises InvalidArgumentError update_mask_invalid, or field_required for a
    field that the mask names and the request leaves blank."""
    paths = frozenset(request.update_mask.paths)
    if not paths:
        raise _mask_error("names no field")
    if unknown := sorted(paths - CHANGEABLE):
        raise _mask_error(f"names {unknown[0][:_SHOWN_PATH_LENGTH]!r}, which can't be changed")
    if blank := sorted(path for path in paths & REQUIRED if not _is_given(request, path)):
        violations = [FieldViolation(json_name(path), "is required") for path in blank]
        raise InvalidArgumentError("field_required", f"{blank[0]} is required.", violations)
    return paths


def json_name(field: str) -> str:
    """How JSON names a field that a mask may hold: "baseUrl" for "base_url"."""
    name: str = pb.UpdateServiceRequest.DESCRIPTOR.fields_by_name[field].json_name
    return name


def apply_edit(
    record: ServiceRecord, request: pb.UpdateServiceRequest, fields: Iterable[str], now: datetime
) -> ServiceRecord:
    """The record with `fields` as in the request. Raises InvalidArgumentError price_invalid or
    cors_origin_invalid."""
    values = {field: _value(record, request, field) for field in fields}
    return replace(record, **values, updated_at=now)


def _is_given(request: pb.UpdateServiceRequest, path: str) -> bool:
    return request.HasField("price") if path == "price" else bool(getattr(request, path).strip())


def _value(record: ServiceRecord, request: pb.UpdateServiceRequest, field: str) -> Any:
    if field == "price":
        return price_of(request.price, record.type)
    if field == "forwarding":
        return forwarding_of(request.forwarding)
    return unique_tags(request.tags) if field == "tags" else getattr(request, field)


def unique_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """`tags` without repetitions, in their order."""
    return tuple(dict.fromkeys(tags))


def _mask_error(problem: str) -> InvalidArgumentError:
    violation = FieldViolation("updateMask", problem)
    return InvalidArgumentError("update_mask_invalid", f"The update mask {problem}.", [violation])
