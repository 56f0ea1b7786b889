"""The part of a service's form that is neither text nor price: metadata, and what isn't kept of calls."""

import re
from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import metadata_pb2
from ams_common.categories import CATEGORIES

from ams_bff.ui.field_words import authentication_methods
from ams_bff.ui.forms import Form

FIELDS = (
    "authentication_method",
    "formats",
    "service_levels",
    "support_contact",
    "categories",
    "visibility",
    "image_type",
    "runtime_parameters",
    "tracing",
)
AVAILABILITY, LATENCY = "service_levels.availability_ppm", "service_levels.latency_p95_ms"
# A form sends only what is ticked: without any, all is kept.
SKIPS = "tracing.skips"
_SKIPPED = ("skips_request_size", "skips_response_size")
_MAX_LATENCY_MS = 600_000
_PARAMETER = "runtime_parameters"
# So many rows stand there unfilled.
_MORE_ROWS = 3
_MOST_ROWS = 50
_WORDS = re.compile(r"[\s,]+")


def starting_values(service: pb.Service) -> dict[str, str | list[str]]:
    """What the controls hold."""
    levels, tracing = service.service_levels, service.tracing
    values: dict[str, str | list[str]] = {
        "authentication_method": str(service.authentication_method),
        "formats": ", ".join(service.formats),
        AVAILABILITY: _percent(levels.availability_ppm),
        LATENCY: str(levels.latency_p95_ms or ""),
        "support_contact.email": service.support_contact.email,
        "support_contact.url": service.support_contact.url,
        "categories": list(service.categories),
        "visibility": str(service.visibility),
        "image_type": str(service.image_type),
        SKIPS: [name for name in _SKIPPED if getattr(tracing, name)],
    }
    for index, parameter in enumerate(service.runtime_parameters):
        row = f"{_PARAMETER}.{index}"
        rules = {"required": parameter.is_required, "secret": parameter.is_secret}
        values |= {
            f"{row}.name": parameter.name,
            f"{row}.description": parameter.description,
            f"{row}.default_value": parameter.default_value,
            f"{row}.rules": [rule for rule, holds in rules.items() if holds],
        }
    return values


def new_values() -> dict[str, str | list[str]]:
    """Of a service that says nothing yet."""
    return starting_values(
        pb.Service(
            authentication_method=metadata_pb2.API_KEY_ONLY,
            visibility=metadata_pb2.PUBLIC,
            image_type=metadata_pb2.API_CONTAINER,
        )
    )


def choices_of(form: Form) -> dict[str, Any]:
    """What the controls of templates/merchant/service_fields.html offer."""
    types = [value for value in metadata_pb2.ImageType.values() if value]
    return {
        "authentication_methods": authentication_methods(),
        "category_choices": [(each.slug, each.name, each.description) for each in CATEGORIES.values()],
        "image_types": [
            (value, metadata_pb2.ImageType.Name(value).capitalize().replace("_", " ")) for value in types
        ],
        "parameter_rows": parameter_rows(form),
    }


def parameter_rows(form: Form) -> range:
    """The rows of runtime parameters that the form shows: those that are filled in, and some more."""
    filled = [index for index in range(_MOST_ROWS) if any(form[name] for name in _names_of_row(index))]
    return range(min(_MOST_ROWS, (filled[-1] + 1 if filled else 0) + _MORE_ROWS))


def values_of(form: Form, names: Collection[str], is_image: bool) -> dict[str, Any]:
    """Of the fields of a request those that are named; what can't be sent is an error of its control."""
    values: dict[str, Any] = {
        "authentication_method": _choice(form, "authentication_method"),
        "formats": [word for word in _WORDS.split(form["formats"].lower()) if word],
        "service_levels": metadata_pb2.ServiceLevels(
            availability_ppm=_ppm(form),
            latency_p95_ms=form.whole(LATENCY, 0, _MAX_LATENCY_MS) if form[LATENCY] else 0,
        ),
        "support_contact": metadata_pb2.SupportContact(
            email=form["support_contact.email"], url=form["support_contact.url"]
        ),
        "categories": form.all("categories"),
        "visibility": _choice(form, "visibility"),
        "image_type": _choice(form, "image_type") if is_image else 0,
        "runtime_parameters": _parameters(form) if is_image else [],
        "tracing": metadata_pb2.TracingSettings(
            **{name: not is_image and name in form.all(SKIPS) for name in _SKIPPED}
        ),
    }
    return {name: value for name, value in values.items() if name in names}


def _choice(form: Form, name: str) -> int:
    """An enum's value, 0 for none; what no control offers the service refuses."""
    return int(form[name]) if re.fullmatch(r"\d{1,3}", form[name]) else 0


def _ppm(form: Form) -> int:
    text = form[AVAILABILITY].replace(",", ".").removesuffix("%").strip()
    try:
        ppm = Decimal(text or 0) * 10_000
    except InvalidOperation:
        ppm = Decimal(-1)
    if not 0 <= ppm <= 1_000_000 or ppm != int(ppm):
        form.refuse(AVAILABILITY, "must be a percentage with four decimals at most, such as 99.95")
        return 0
    return int(ppm)


def _percent(ppm: int) -> str:
    return f"{(Decimal(ppm) / 10_000).normalize():f}" if ppm else ""


def _names_of_row(index: int) -> tuple[str, str, str]:
    row = f"{_PARAMETER}.{index}"
    return f"{row}.name", f"{row}.description", f"{row}.default_value"


def _parameters(form: Form) -> list[metadata_pb2.RuntimeParameter]:
    """Rows that nothing was typed into are none. The others close up, in the form too, so that a service's
    refusal of one comes back to its row."""
    filled = [index for index in range(_MOST_ROWS) if any(form[name] for name in _names_of_row(index))]
    for place, index in enumerate(filled):
        for part in ("name", "description", "default_value", "rules"):
            taken = form.values.pop(f"{_PARAMETER}.{index}.{part}", [])
            form.values[f"{_PARAMETER}.{place}.{part}"] = taken
    parameters = []
    for place in range(len(filled)):
        name, description, default_value = (form[each] for each in _names_of_row(place))
        rules = form.all(f"{_PARAMETER}.{place}.rules")
        parameters.append(
            metadata_pb2.RuntimeParameter(
                name=name,
                description=description,
                default_value=default_value,
                is_required="required" in rules,
                is_secret="secret" in rules,
            )
        )
    return parameters
