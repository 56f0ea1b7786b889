"""A service as a form: what was typed as a request, what is stored as a form, and the price's example."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import API, DOCKER, SERVICE_TYPE_UNSPECIFIED
from ams.catalog.v1.pricing_pb2 import PerRequest, Price
from ams_common.money import round_to_minor_unit, to_decimal, to_money
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.money_pb2 import Money

from ams_bff.ui.amounts import amount_of, typed
from ams_bff.ui.forms import Form
from ams_bff.views import forwarding_forms

AMOUNT = "price.per_request.amount"
CURRENCY = "price.per_request.amount.currency_code"
TYPES = {"API": API, "DOCKER": DOCKER}
EXAMPLES = (1_000, 10_000, 100_000, 1_000_000)
_TEXTS = ("name", "description", "base_url", "documentation_url", "version", "additional_info")
_FIELDS = (*_TEXTS, "tags", "rate_limit_per_minute", "price", "forwarding")
_MOST_PER_MINUTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Example:
    """What a month of so many requests costs a consumer."""

    requests: int
    cost: Money


def empty_form() -> Form:
    return Form.starting(type="API", version="1.0.0", **{CURRENCY: "EUR", "rate_limit_per_minute": "0"})


def form_of(service: pb.Service) -> Form:
    values = {name: getattr(service, name) for name in _TEXTS}
    amount = service.price.per_request.amount
    return Form.starting(
        **values,
        tags=", ".join(service.tags),
        rate_limit_per_minute=str(service.rate_limit_per_minute),
        **{AMOUNT: typed(amount), CURRENCY: amount.currency_code},
        **forwarding_forms.starting_values(service.forwarding),
    )


def new_service(form: Form) -> dict[str, Any]:
    """The fields of a CreateServiceRequest.

    Raises InvalidArgumentError when something typed can't be sent.
    """
    kind = TYPES.get(form["type"], SERVICE_TYPE_UNSPECIFIED)
    if kind == SERVICE_TYPE_UNSPECIFIED:
        form.refuse("type", "must be chosen")
    values = _values(form, _FIELDS)
    form.check()
    if kind == DOCKER:
        values["base_url"] = ""
        del values["forwarding"]
    return {**values, "type": kind, "idempotency_key": form["idempotency_key"]}


def changed_service(service: pb.Service, form: Form) -> dict[str, Any]:
    """The fields of an UpdateServiceRequest: all that may be changed.

    Raises InvalidArgumentError when something typed can't be sent.
    """
    values = _values(form, service.changeable_fields)
    form.check()
    mask = FieldMask(paths=service.changeable_fields)
    return {**values, "service_id": service.service_id, "update_mask": mask}


def price_of(form: Form) -> Price | None:
    """The price as typed; None for nothing, and for what is none, which is then an error of the field."""
    amount = amount_of(form, AMOUNT, CURRENCY, example="0.002")
    return Price(per_request=PerRequest(amount=amount)) if amount is not None else None


def examples_of(price: Price | None) -> list[Example]:
    """What consumers would pay for some months, rounded as an invoice's line is."""
    if price is None:
        return []
    amount = price.per_request.amount
    return [Example(requests, _cost(requests, amount)) for requests in EXAMPLES]


def _cost(requests: int, amount: Money) -> Money:
    exact = requests * to_decimal(amount)
    return to_money(round_to_minor_unit(exact, amount.currency_code), amount.currency_code)


def _values(form: Form, fields: Collection[str]) -> dict[str, Any]:
    values: dict[str, Any] = {name: form[name] for name in _TEXTS if name in fields}
    if "tags" in fields:
        values["tags"] = [tag for tag in re.split(r"[\s,]+", form["tags"].lower()) if tag]
    if "rate_limit_per_minute" in fields:
        is_limited = bool(form["rate_limit_per_minute"])
        limit = form.whole("rate_limit_per_minute", 0, _MOST_PER_MINUTE) if is_limited else 0
        values["rate_limit_per_minute"] = limit
    if "price" in fields:
        # That one is missing the catalog says, with all else that is missing.
        values["price"] = price_of(form) if form[AMOUNT] else None
    if "forwarding" in fields:
        values["forwarding"] = forwarding_forms.settings_of(form)
    return values
