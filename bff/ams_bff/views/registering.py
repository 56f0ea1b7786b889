"""Registration: consumers by themselves, merchants by invite (FR1)."""

from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit, safe_path
from ams_bff.ui.forms import Form
from ams_bff.views.signing_in import await_code


async def show_consumer_form(visit: Visit) -> Response:
    """The form; who is signed in already finds it filled."""
    person = visit.session.person
    form = Form.starting(
        email=person.email if person else visit.query.get("email", ""),
        name=person.name if person else "",
        next=safe_path(visit.query.get("next")) or "",
    )
    return await visit.render("account/register.html", form=form)


async def register_consumer(visit: Visit) -> Response:
    form = visit.form
    fields = {"email": form["email"], "name": form["name"]}
    try:
        challenge = await visit.api.identity.RegisterConsumer(**fields, device_tokens=visit.device_tokens)
    except AppError as error:
        return await visit.render("account/register.html", form=form.refused(error))
    return await await_code(visit, challenge, {"purpose": "register_consumer", **fields})


async def show_merchant_form(visit: Visit) -> Response:
    """The link in the invite mail leads here, with the code and the address in it."""
    names = ("invite_code", "email")
    form = Form.starting(**{name: visit.query.get(name, "") for name in names})
    return await visit.render("account/register_merchant.html", form=form)


async def register_merchant(visit: Visit) -> Response:
    """Has a code mailed, if the invite is good for the address."""
    form = visit.form
    fields = {name: form[name] for name in ("invite_code", "email", "name", "company_name")}
    try:
        challenge = await visit.api.identity.RegisterMerchant(**fields, device_tokens=visit.device_tokens)
    except AppError as error:
        return await visit.render("account/register_merchant.html", form=form.refused(error))
    return await await_code(visit, challenge, {"purpose": "register_merchant", **fields})


VIEWS = (
    page("/register", show_consumer_form),
    action("/register", register_consumer),
    page("/register/merchant", show_merchant_form),
    action("/register/merchant", register_merchant),
)
