"""Signing in by a mailed code, and out. The code page also ends every registration."""

from collections.abc import Mapping
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.errors import AppError, UnauthenticatedError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit, safe_path
from ams_bff.ui.forms import Form
from ams_bff.ui.navigation import home_of
from ams_bff.views.issuers import list_issuers
from ams_bff.views.second_factors import signed_in

_CODE_PATH = "/login/code"


async def show_sign_in(visit: Visit) -> Response:
    if visit.session.person is not None:
        return await visit.redirect(safe_path(visit.query.get("next")) or home_of(visit.role))
    form = Form.starting(email=visit.query.get("email", ""), next=safe_path(visit.query.get("next")) or "")
    return await _sign_in_page(visit, form)


async def _sign_in_page(visit: Visit, form: Form) -> Response:
    return await visit.render("account/sign_in.html", form=form, issuers=await list_issuers(visit))


async def start_sign_in(visit: Visit) -> Response:
    form = visit.form
    try:
        challenge = await visit.api.identity.StartSignIn(
            email=form["email"], device_tokens=visit.device_tokens
        )
    except AppError as error:
        return await _sign_in_page(visit, form.refused(error))
    return await await_code(visit, challenge, {"purpose": "sign_in", "email": form["email"]})


async def await_code(visit: Visit, challenge: pb.Challenge, asked: Mapping[str, str]) -> Response:
    """On to the code page. `asked` is what the challenge was made from, to make another of."""
    path = safe_path(visit.form["next"])
    notes: dict[str, Any] = {
        "challenge_id": challenge.challenge_id,
        "asked": dict(asked),
        "is_earlier_code": challenge.is_earlier_code,
    }
    await visit.session.keep_notes(notes | ({"next": path} if path else {}))
    return await visit.redirect(_CODE_PATH)


async def show_code(visit: Visit, form: Form | None = None) -> Response:
    notes = visit.session.notes
    if "challenge_id" not in notes:
        return await visit.redirect("/login")
    return await visit.render(
        "account/code.html",
        form=form or Form(),
        asked=notes["asked"],
        is_earlier_code=notes.get("is_earlier_code", False),
    )


async def check_code(visit: Visit) -> Response:
    notes, form = visit.session.notes, visit.form
    if "challenge_id" not in notes:
        return await visit.redirect("/login", Flash("That code has expired. Ask for a new one.", "plain"))
    try:
        answer = await visit.api.identity.VerifyChallenge(
            challenge_id=notes["challenge_id"], code=form["code"], device_tokens=visit.device_tokens
        )
    except UnauthenticatedError as error:
        form.refuse("code", "is not the one we sent, or has expired")
        form.status = error.http_status
        return await show_code(visit, form)
    except AppError as error:
        return await show_code(visit, form.refused(error))
    return await signed_in(visit, answer, safe_path(notes.get("next")))


async def send_again(visit: Visit) -> Response:
    """Another code for the same person, in place of the first."""
    if "challenge_id" not in visit.session.notes:
        return await visit.redirect("/login")
    asked = visit.session.notes["asked"]
    try:
        challenge = await _ask_again(visit, asked)
    except AppError as error:
        return await show_code(visit, visit.form.refused(error))
    is_earlier_code = challenge.is_earlier_code
    await visit.session.keep_notes(
        {
            **visit.session.notes,
            "challenge_id": challenge.challenge_id,
            "is_earlier_code": is_earlier_code,
        }
    )
    return await visit.redirect(_CODE_PATH, None if is_earlier_code else "The code is on its way again.")


async def _ask_again(visit: Visit, asked: Mapping[str, str]) -> pb.Challenge:
    fields = {name: text for name, text in asked.items() if name != "purpose"}
    known = visit.device_tokens
    match asked["purpose"]:
        case "register_consumer":
            return await visit.api.identity.RegisterConsumer(**fields, device_tokens=known)
        case "register_merchant":
            return await visit.api.identity.RegisterMerchant(**fields, device_tokens=known)
        case _:
            return await visit.api.identity.StartSignIn(**fields, device_tokens=known)


async def sign_out(visit: Visit) -> Response:
    """Ends the session here and at identity-svc; here even when identity-svc is down."""
    refresh_token = visit.session.refresh_token
    await visit.session.end()
    if refresh_token is not None:
        try:
            await visit.api.identity.SignOut(refresh_token=refresh_token)
        except AppError:
            text = "You are signed out in this browser. Other devices can't be told now."
            return await visit.redirect("/login", Flash(text, "plain"))
    return await visit.redirect("/login", "You are signed out.")


VIEWS = (
    page("/login", show_sign_in),
    action("/login", start_sign_in),
    page(_CODE_PATH, show_code),
    action(_CODE_PATH, check_code),
    action("/login/again", send_again),
    action("/logout", sign_out),
)
