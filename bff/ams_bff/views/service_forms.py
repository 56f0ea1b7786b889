"""A service as a form: what was typed as a request, and what is stored as a form."""

import re
from collections.abc import Collection
from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import API, DOCKER, SERVICE_TYPE_UNSPECIFIED
from ams.catalog.v1.forwarding_pb2 import PER_CONSUMER, ForwardingSettings
from google.protobuf.field_mask_pb2 import FieldMask

from ams_bff.ui.forms import Form
from ams_bff.views import forwarding_forms, metadata_forms, price_forms

TYPES = {"API": API, "DOCKER": DOCKER}
_TEXTS = ("name", "description", "base_url", "documentation_url", "version", "additional_info")
_FIELDS = (*_TEXTS, "tags", "rate_limit_per_minute", "price", "forwarding", *metadata_forms.FIELDS)
_MOST_PER_MINUTE = 1_000_000


def empty_form() -> Form:
    return Form.starting(
        type="API",
        version="1.0.0",
        rate_limit_per_minute="0",
        **price_forms.starting_values(),
        **metadata_forms.new_values(),
        **forwarding_forms.starting_values(ForwardingSettings(limit_scope=PER_CONSUMER)),
    )


def form_of(service: pb.Service) -> Form:
    values = {name: getattr(service, name) for name in _TEXTS}
    return Form.starting(
        **values,
        tags=", ".join(service.tags),
        rate_limit_per_minute=str(service.rate_limit_per_minute),
        **price_forms.starting_values(service.price),
        **forwarding_forms.starting_values(service.forwarding),
        **metadata_forms.starting_values(service),
    )


def new_service(form: Form) -> dict[str, Any]:
    """The fields of a CreateServiceRequest.

    Raises InvalidArgumentError when something typed can't be sent.
    """
    kind = TYPES.get(form["type"], SERVICE_TYPE_UNSPECIFIED)
    if kind == SERVICE_TYPE_UNSPECIFIED:
        form.refuse("type", "must be chosen")
    values = _values(form, _FIELDS, kind == DOCKER)
    form.check()
    if kind == DOCKER:
        values["base_url"] = ""
        del values["forwarding"]
    return {**values, "type": kind, "idempotency_key": form["idempotency_key"]}


def changed_service(service: pb.Service, form: Form) -> dict[str, Any]:
    """The fields of an UpdateServiceRequest: all that may be changed, and which state was looked at.

    Raises InvalidArgumentError when something typed can't be sent.
    """
    values = _values(form, service.changeable_fields, service.type == DOCKER)
    form.check()
    mask = FieldMask(paths=service.changeable_fields)
    return {**values, "service_id": service.service_id, "update_mask": mask, "etag": form["etag"]}


def _values(form: Form, fields: Collection[str], is_image: bool) -> dict[str, Any]:
    values: dict[str, Any] = {name: form[name] for name in _TEXTS if name in fields}
    if "tags" in fields:
        values["tags"] = [tag for tag in re.split(r"[\s,]+", form["tags"].lower()) if tag]
    if "rate_limit_per_minute" in fields:
        is_limited = bool(form["rate_limit_per_minute"])
        limit = form.whole("rate_limit_per_minute", 0, _MOST_PER_MINUTE) if is_limited else 0
        values["rate_limit_per_minute"] = limit
    if "price" in fields:
        values["price"] = price_forms.price_of(form)
    if "forwarding" in fields:
        values["forwarding"] = forwarding_forms.settings_of(form)
    values |= metadata_forms.values_of(form, fields, is_image)
    return values
