"""What a price comes to while it is typed, and its parts as buttons change them."""

from typing import Any

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import MERCHANT
from ams_common.errors import InvalidArgumentError
from starlette.responses import Response

from ams_bff.http.routing import action
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views import price_forms

_PATH = "/merchant/services/price"


async def editor_fields(visit: Visit, form: Form) -> dict[str, Any]:
    """What templates/prices/editor.html needs beside the form."""
    return {**price_forms.editor_context(form), "preview": await _ask(visit, form)}


async def show_preview(visit: Visit) -> Response:
    """The example month, at the price as it stands now."""
    return await visit.render("prices/preview.html", preview=await _ask(visit, visit.form))


async def edit_parts(visit: Visit) -> Response:
    """The editor with a part or tier more or less."""
    form = visit.form
    price_forms.edit(form)
    answer = await visit.render("prices/edited.html", form=form, **price_forms.editor_context(form))
    answer.headers["hx-trigger"] = "price-edited"
    return answer


async def _ask(visit: Visit, form: Form) -> pb.PricePreview | None:
    """None for what isn't a price yet."""
    typed = Form(form.values)  # what is wrong with it is said when it is sent
    price = price_forms.price_of(typed)
    if typed.errors:
        return None
    quantities = price_forms.quantities_of(form)
    asked = visit.api.billing.PreviewPrice(price=price, quantities=quantities)
    try:
        return await visit.or_none_if_down(asked)
    except InvalidArgumentError:
        return None


VIEWS = (
    action(_PATH, show_preview, MERCHANT),
    action(f"{_PATH}/editor", edit_parts, MERCHANT),
)
