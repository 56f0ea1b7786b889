"""Spend caps: what a consumer's calls may cost in a month. The consumer's own page, and a cap as a form."""

from collections.abc import Mapping

from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import AppError
from google.type.money_pb2 import Money
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.amounts import CURRENCIES, CURRENCY_CHOICES, amount_of, typed
from ams_bff.ui.forms import Form
from ams_bff.views.effects import effect_flash

PATH = "/dashboard/api-keys/spend-cap"
CAP_AMOUNT, _CAP_CURRENCY = "spend_cap.amount", "spend_cap.currency_code"
EMPTY_CAP: Mapping[str, str] = {_CAP_CURRENCY: CURRENCIES[0]}


async def show_cap(visit: Visit) -> Response:
    """The one over all keys of the consumer."""
    return await _cap_page(visit)


async def set_cap(visit: Visit) -> Response:
    form = visit.form
    if form["intent"] == "remove":
        await visit.api.keys.SetSpendCap()
        return await visit.redirect(PATH, "Your spend cap is removed.")
    try:
        cap = cap_of(form)
        form.check()
        capped = await visit.api.keys.SetSpendCap(amount=cap)
    except AppError as error:
        return await _cap_page(visit, refused_cap(form, error, "amount"))
    return await visit.redirect(PATH, effect_flash("Your spend cap is set.", capped, visit.zone))


def cap_form(cap: Money | None) -> Form:
    """A cap in the controls of ui.spend_cap; None: there is none yet."""
    if cap is None:
        return Form.starting(**EMPTY_CAP)
    return Form.starting(**{CAP_AMOUNT: typed(cap), _CAP_CURRENCY: cap.currency_code})


def cap_of(form: Form) -> Money | None:
    """The cap as typed; None for what is none, which is then an error of the field."""
    return amount_of(form, CAP_AMOUNT, _CAP_CURRENCY, example="50 or 12.50")


def refused_cap(form: Form, error: AppError, field: str, **names: str) -> Form:
    """The form with what keys-svc has against it; `field` is what the request calls the cap."""
    parts = {field: CAP_AMOUNT, f"{field}__units": CAP_AMOUNT, f"{field}__nanos": CAP_AMOUNT}
    return form.refused(error, None, **names, **parts, **{f"{field}__currency_code": _CAP_CURRENCY})


async def _cap_page(visit: Visit, refused: Form | None = None) -> Response:
    answer = await visit.api.keys.GetSpendCap()
    cap = answer.amount if answer.HasField("amount") else None
    return await visit.render(
        "keys/spend_cap.html", form=refused or cap_form(cap), cap=cap, currencies=CURRENCY_CHOICES
    )


VIEWS = (
    page(PATH, show_cap, CONSUMER),
    action(PATH, set_cap, CONSUMER),
)
