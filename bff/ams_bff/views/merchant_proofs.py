"""What proves to a merchant's API that a call came through AMS: a credential of its own, and signatures."""

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import API
from ams.catalog.v1.forwarding_pb2 import BASIC, BEARER, CREDENTIAL_KIND_UNSPECIFIED, HEADER
from ams.policy.v1.policy_pb2 import MERCHANT
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.ui.samples import verification_samples
from ams_bff.views.effects import effect_flash, late_text
from ams_bff.views.merchant_services import PATH, load_service

_CREDENTIAL = f"{PATH}/{{service_id}}/credential"
_KINDS = {str(kind): kind for kind in (HEADER, BASIC, BEARER)}
_SIGNING_KEY = f"{PATH}/{{service_id}}/signing-key"


async def show_credential(visit: Visit) -> Response:
    service = await _load(visit)
    present = service.upstream_credential
    is_header = present.kind == HEADER
    form = Form.starting(
        kind=str(present.kind or BEARER), header_name=present.header_name if is_header else ""
    )
    return await _credential_page(visit, service, form)


async def set_credential(visit: Visit) -> Response:
    """Replaces it. What was typed as its value never comes back to the page, not even when it is refused."""
    service, form = await _load(visit), visit.form
    value = form["value"]
    form.values.pop("value", None)
    kind = _KINDS.get(form["kind"], CREDENTIAL_KIND_UNSPECIFIED)
    # What belongs to another kind stands there from before: it isn't what is meant.
    header_name = form["header_name"] if kind == HEADER else ""
    username = form["username"] if kind == BASIC else ""
    try:
        if not kind:
            form.refuse("kind", "must be chosen")
        if kind == HEADER and not header_name:
            form.refuse("header_name", "is required")
        if kind == BASIC and not username:
            form.refuse("username", "is required")
        if not value:
            form.refuse("value", "is required")
        form.check()
        changed = await visit.api.catalog.SetUpstreamCredential(
            service_id=service.service_id, kind=kind, header_name=header_name, username=username, value=value
        )
    except AppError as error:
        return await _credential_page(visit, service, form.refused(error))
    return await visit.redirect(
        f"{PATH}/{service.service_id}",
        f"From now on calls carry your credential in {changed.upstream_credential.header_name}.",
    )


async def remove_credential(visit: Visit) -> Response:
    service = await _load(visit)
    await visit.api.catalog.SetUpstreamCredential(service_id=service.service_id)
    return await visit.redirect(
        f"{PATH}/{service.service_id}", "The credential is removed: calls come without it from now on."
    )


async def rotate_signing_key(visit: Visit) -> Response:
    """Shows the secret, once, with what checks a signature."""
    service = await _load(visit)
    made = await visit.api.catalog.RotateSigningKey(
        service_id=service.service_id, at_once=visit.form["start"] == "at_once"
    )
    return await visit.render(
        "merchant/signing_key.html",
        service=made.service,
        signing_key=made.signing_key,
        secret=made.secret,
        samples=verification_samples(made.signing_key.signing_key_id, made.secret),
        late=late_text(made.service, visit.zone),
    )


async def use_signing_key(visit: Visit) -> Response:
    """The next one, before its time."""
    service = await _load(visit)
    path = f"{PATH}/{service.service_id}"
    try:
        changed = await visit.api.catalog.UseSigningKey(service_id=service.service_id)
    except FailedPreconditionError as error:
        # Its time has come, or a second click.
        return await visit.redirect(path, Flash(error.message, "plain"))
    return await visit.redirect(
        path, effect_flash("Calls are signed with the next key from now on.", changed, visit.zone)
    )


async def _load(visit: Visit) -> pb.Service:
    service = await load_service(visit)
    if service.type != API:
        raise NotFoundError("service_not_called", "Nobody calls this service through AMS.")
    return service


async def _credential_page(visit: Visit, service: pb.Service, form: Form) -> Response:
    return await visit.render("merchant/credential.html", service=service, form=form)


VIEWS = (
    page(_CREDENTIAL, show_credential, MERCHANT),
    action(_CREDENTIAL, set_credential, MERCHANT),
    action(f"{_CREDENTIAL}/remove", remove_credential, MERCHANT),
    action(_SIGNING_KEY, rotate_signing_key, MERCHANT),
    action(f"{_SIGNING_KEY}/use", use_signing_key, MERCHANT),
)
