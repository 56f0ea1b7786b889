"""The second factors of one's account: added, removed, and proven before either."""

import io
from collections.abc import Sequence

import segno
from ams_common.errors import AppError, FailedPreconditionError, PermissionDeniedError, UnauthenticatedError
from markupsafe import Markup
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.second_factors import challenge_note, proof_of, refuse_proof

_PATH = "/settings/security"
_CONFIRM = f"{_PATH}/confirm"
_TOTP, _PASSKEY, _ASKED = "totp", "passkey", "step_up"


async def show(visit: Visit) -> Response:
    factors = await visit.api.second_factors.GetSecondFactors()
    has_any = bool(factors.passkeys) or factors.has_totp
    return await visit.render(
        "settings/security.html",
        factors=factors,
        has_any=has_any,
        is_changeable=not has_any or factors.HasField("changeable_until"),
    )


async def show_confirm(visit: Visit, form: Form | None = None) -> Response:
    """Asks for a second factor; the same one again after a wrong proof."""
    asked = visit.session.notes.get(_ASKED) if form is not None else None
    if asked is None:
        asked = challenge_note(await visit.api.second_factors.StartStepUp())
        await visit.session.keep_notes({**visit.session.notes, _ASKED: asked})
    return await visit.render("account/second_factor.html", form=form or Form(), asked=asked, action=_CONFIRM)


async def confirm(visit: Visit) -> Response:
    asked = visit.session.notes.get(_ASKED)
    if asked is None:
        return await visit.redirect(_CONFIRM)
    try:
        await visit.api.second_factors.CompleteStepUp(
            challenge_id=asked["challenge_id"], proof=proof_of(visit.form)
        )
    except UnauthenticatedError as error:
        if error.code != "second_factor_invalid":
            raise
        return await show_confirm(visit, refuse_proof(visit.form, error))
    except AppError as error:
        return await show_confirm(visit, visit.form.refused(error))
    # An admin who had signed in without one acts as such from now on.
    await visit.session.renew()
    return await visit.redirect(_PATH, "Thank you. You can change your second factors for ten minutes.")


async def start_totp(visit: Visit) -> Response:
    try:
        started = await visit.api.second_factors.StartTotp()
    except (PermissionDeniedError, FailedPreconditionError) as error:
        return await _first_prove(visit, error)
    await visit.session.keep_notes(
        {**visit.session.notes, _TOTP: {"secret": started.secret, "uri": started.uri}}
    )
    return await visit.redirect(f"{_PATH}/totp")


async def show_totp(visit: Visit, form: Form | None = None) -> Response:
    started = visit.session.notes.get(_TOTP)
    if started is None:
        return await visit.redirect(_PATH)
    return await visit.render(
        "settings/totp.html",
        form=form or Form(),
        secret=started["secret"],
        code=_qr_code(started["uri"]),
    )


async def confirm_totp(visit: Visit) -> Response:
    try:
        added = await visit.api.second_factors.ConfirmTotp(totp_code=visit.form["totp_code"])
    except PermissionDeniedError as error:
        return await _first_prove(visit, error)
    except AppError as error:
        return await show_totp(visit, visit.form.refused(error))
    await visit.session.keep_notes(
        {name: note for name, note in visit.session.notes.items() if name != _TOTP}
    )
    return await _added(visit, added.recovery_codes, "The authenticator app is added.")


async def start_passkey(visit: Visit) -> Response:
    try:
        started = await visit.api.second_factors.StartPasskey()
    except (PermissionDeniedError, FailedPreconditionError) as error:
        return await _first_prove(visit, error)
    asked = {"challenge_id": started.challenge_id, "options_json": started.creation_options_json}
    await visit.session.keep_notes({**visit.session.notes, _PASSKEY: asked})
    return await visit.redirect(f"{_PATH}/passkey")


async def show_passkey(visit: Visit, form: Form | None = None) -> Response:
    asked = visit.session.notes.get(_PASSKEY)
    if asked is None:
        return await visit.redirect(_PATH)
    return await visit.render(
        "settings/passkey.html",
        form=form or Form.starting(name="My passkey"),
        options_json=asked["options_json"],
    )


async def add_passkey(visit: Visit) -> Response:
    asked, form = visit.session.notes.get(_PASSKEY), visit.form
    if asked is None:
        return await visit.redirect(_PATH)
    try:
        added = await visit.api.second_factors.AddPasskey(
            challenge_id=asked["challenge_id"], name=form["name"], passkey_json=form["passkey_json"]
        )
    except PermissionDeniedError as error:
        return await _first_prove(visit, error)
    except UnauthenticatedError as error:
        if error.code != "second_factor_invalid":
            raise
        return await visit.redirect(_PATH, "That took too long. Start again.")
    except AppError as error:
        return await show_passkey(visit, form.refused(error))
    return await _added(visit, added.recovery_codes, f"The passkey “{form['name']}” is added.")


async def remove(visit: Visit) -> Response:
    """The app, or one passkey."""
    passkey_id = visit.form["passkey_id"]
    try:
        if passkey_id:
            await visit.api.second_factors.RemovePasskey(passkey_id=passkey_id)
        else:
            await visit.api.second_factors.RemoveTotp()
    except (PermissionDeniedError, FailedPreconditionError) as error:
        return await _first_prove(visit, error)
    return await visit.redirect(_PATH, "It is removed.")


async def make_recovery_codes(visit: Visit) -> Response:
    try:
        made = await visit.api.second_factors.MakeRecoveryCodes()
    except (PermissionDeniedError, FailedPreconditionError) as error:
        return await _first_prove(visit, error)
    return await visit.render("settings/recovery_codes.html", codes=made.recovery_codes)


async def _added(visit: Visit, codes: Sequence[str], said: str) -> Response:
    """Shows the recovery codes that came with the first factor, once."""
    # Before anything is shown: an admin acts as such from now on.
    await visit.session.renew()
    if codes:
        return await visit.render("settings/recovery_codes.html", codes=codes)
    return await visit.redirect(_PATH, said)


async def _first_prove(visit: Visit, error: AppError) -> Response:
    """To where a second factor is proven, if that is what lacks; else says what does."""
    if error.code == "second_factor_required":
        return await visit.redirect(_CONFIRM)
    return await visit.redirect(_PATH, error.message)


def _qr_code(uri: str) -> Markup:
    """An inline image of an otpauth address. Made here, of text that identity-svc has encoded."""
    drawn = io.BytesIO()
    code = segno.make(uri, error="m")
    code.save(drawn, kind="svg", scale=5, xmldecl=False, title="QR code", light="#fff")
    return Markup(drawn.getvalue().decode())  # noqa: S704


VIEWS = (
    page(_PATH, show, is_for_members=True),
    page(_CONFIRM, show_confirm, is_for_members=True),
    action(_CONFIRM, confirm, is_for_members=True),
    action(f"{_PATH}/totp/start", start_totp, is_for_members=True),
    page(f"{_PATH}/totp", show_totp, is_for_members=True),
    action(f"{_PATH}/totp", confirm_totp, is_for_members=True),
    action(f"{_PATH}/passkey/start", start_passkey, is_for_members=True),
    page(f"{_PATH}/passkey", show_passkey, is_for_members=True),
    action(f"{_PATH}/passkey", add_passkey, is_for_members=True),
    action(f"{_PATH}/remove", remove, is_for_members=True),
    action(f"{_PATH}/recovery-codes", make_recovery_codes, is_for_members=True),
)
