"""Errors as pages: what happened, what it means, what to do. Never the text of an exception."""

import logging
from dataclasses import dataclass

from ams_common.context import current_request_id
from ams_common.errors import AppError, InvalidArgumentError, UnauthenticatedError
from ams_rest.http_errors import MethodNotAllowedError
from starlette.responses import Response

from ams_bff.http.closed_roles import closed_by_now, closed_page
from ams_bff.http.guards import FIELD
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ErrorText:
    """An error in words. `is_ours`: trying again may help, and the request id whoever looks into it."""

    title: str
    text: str
    icon: str
    is_ours: bool = False
    # In place of `text` when a form was sent: it is unknown how much of it was done.
    text_of_form: str = ""


_NOT_FOUND = ErrorText(
    "There is no such page",
    "It may have been moved or removed, or it isn't yours to see. Check the address, or continue below.",
    icon="search-x",
)
_DOWN = ErrorText(
    "A part of AMS is not reachable",
    "We are most likely restarting it. Try again in a moment.",
    icon="plug-zap",
    is_ours=True,
    text_of_form="We are most likely restarting it, so what you sent may not have been done.",
)
_BY_STATUS = {
    400: ErrorText("That request can't be read", "Go back, and try once more.", icon="circle-alert"),
    403: ErrorText("This page isn't open to you", "", icon="lock"),
    404: _NOT_FOUND,
    405: ErrorText(
        "This page can't be used like that", "Open it from a link or a form.", icon="circle-alert"
    ),
    408: ErrorText("The request took too long to arrive", "Try again.", icon="clock-alert"),
    409: ErrorText("That can't be done at the moment", "", icon="circle-alert"),
    413: ErrorText("That is too much for one form", "Shorten it and try again.", icon="circle-alert"),
    429: ErrorText("Too many tries", "", icon="clock-alert"),
    502: _DOWN,
    503: _DOWN,
    504: _DOWN,
}
_FAULT = ErrorText(
    "Something went wrong on our side",
    "The error has been noted. Try again; if it comes back, tell us the number below.",
    icon="bug",
    is_ours=True,
    text_of_form="The error has been noted; what you sent may not have been done. If it comes back, tell us "
    "the number below.",
)
# Here the error's own sentence is for the person.
_SPEAKING = (403, 409, 429)
_SESSION_CODES = ("token_invalid", "token_expired", "session_ended", "refresh_token_invalid")


async def error_page(visit: Visit, error: AppError) -> Response:
    """The page of an error, or the way to sign in."""
    if isinstance(error, UnauthenticatedError):
        return await _sign_in_first(visit, error)
    if (closed := await closed_by_now(visit, error)) is not None:
        return await closed_page(visit, closed)
    status = error.http_status
    if isinstance(error, InvalidArgumentError) and visit.is_read:
        # An id that can't be one: no such page, as for one that doesn't exist.
        status = 404
    answer = await _render_error(visit, status, error.message if status in _SPEAKING else "")
    if isinstance(error, MethodNotAllowedError):
        answer.headers["allow"] = ", ".join(error.allowed)
    if retry_after_s := error.metadata.get("retry_after_s"):
        answer.headers["retry-after"] = retry_after_s
    return answer


async def fault_page(visit: Visit) -> Response:
    """The page of an error that isn't one of ours."""
    return await _render_error(visit, 500, "")


async def _sign_in_first(visit: Visit, error: UnauthenticatedError) -> Response:
    if error.code in _SESSION_CODES and visit.session.person is not None:
        await visit.session.end()
        flash = Flash("Your session has ended. Sign in again to continue.", kind="plain")
    else:
        flash = None
    return await visit.redirect(visit.sign_in_path, flash)


async def _render_error(visit: Visit, status: int, message: str) -> Response:
    error_text = _BY_STATUS.get(status, _FAULT)
    visit.is_degraded = False
    text = message or (error_text.text if visit.is_read else error_text.text_of_form or error_text.text)
    if not visit.is_partial:
        typed = {name: texts for name, texts in visit.form.values.items() if name != FIELD}
        return await visit.render(
            "errors/error.html",
            status,
            error_text=error_text,
            text=text,
            code=status,
            can_resend=error_text.is_ours and bool(visit.form.values),
            typed=[(name, text) for name, texts in typed.items() for text in texts],
            request_id=current_request_id(),
        )
    flash = Flash(f"{error_text.title}. {text}", "bad")
    answer = await visit.render("errors/alert.html", status, flash=flash)
    if not visit.is_read:
        # In its own place the message would replace the form with what was typed into it.
        answer.headers["hx-retarget"] = ".toasts"
        answer.headers["hx-reswap"] = "beforeend"
    return answer
