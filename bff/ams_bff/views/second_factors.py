"""Signing in with a second factor, after the address has been proven."""

from collections.abc import Mapping
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.second_factors_pb2 import SecondFactorChallenge, SecondFactorProof
from ams_common.errors import AppError, UnauthenticatedError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit, safe_path
from ams_bff.ui.forms import Form
from ams_bff.ui.navigation import home_of

_PATH = "/login/second-factor"
_NOTE = "second_factor"


async def signed_in(visit: Visit, answer: pb.Session, path: str | None) -> Response:
    """On to where somebody wanted to go, or to the second factor that is asked for first."""
    if not answer.HasField("second_factor"):
        await visit.session.sign_in(answer)
        return await visit.redirect(path or home_of(visit.role))
    asked = challenge_note(answer.second_factor) | {"next": path or ""}
    await visit.session.keep_notes({_NOTE: asked})
    return await visit.redirect(_PATH)


def challenge_note(asked: SecondFactorChallenge) -> dict[str, Any]:
    """What a page needs to ask for a second factor."""
    return {
        "challenge_id": asked.challenge_id,
        "passkey_options_json": asked.passkey_options_json,
        "has_totp": asked.has_totp,
        "has_recovery_codes": asked.has_recovery_codes,
    }


def proof_of(form: Form) -> SecondFactorProof:
    """What was given in the form of templates/account/proof.html."""
    return SecondFactorProof(
        passkey_json=form["passkey_json"],
        totp_code=form["totp_code"],
        recovery_code=form["recovery_code"],
    )


def refuse_proof(form: Form, error: UnauthenticatedError) -> Form:
    form.message = error.message
    form.status = error.http_status
    return form


async def show(visit: Visit, form: Form | None = None) -> Response:
    asked: Mapping[str, Any] | None = visit.session.notes.get(_NOTE)
    if asked is None:
        return await visit.redirect("/login")
    return await visit.render("account/second_factor.html", form=form or Form(), asked=asked, action=_PATH)


async def check(visit: Visit) -> Response:
    asked = visit.session.notes.get(_NOTE)
    if asked is None:
        return await visit.redirect("/login", Flash("That took too long. Sign in again.", "plain"))
    try:
        answer = await visit.api.second_factors.CompleteSignIn(
            challenge_id=asked["challenge_id"],
            proof=proof_of(visit.form),
            device_tokens=visit.device_tokens,
        )
    except UnauthenticatedError as error:
        return await show(visit, refuse_proof(visit.form, error))
    except AppError as error:
        return await show(visit, visit.form.refused(error))
    await visit.session.sign_in(answer)
    return await visit.redirect(safe_path(asked["next"]) or home_of(visit.role))


VIEWS = (page(_PATH, show), action(_PATH, check))
