"""Errors as pages: what happened, what it means, what to do. Never the text of an exception."""

import logging
from dataclasses import dataclass

from ams_common.context import current_request_id
from ams_common.errors import AppError, InvalidArgumentError, UnauthenticatedError
from starlette.responses import Response

from ams_bff.http.closed_roles import closed_answer, closed_by_now
from ams_bff.http.guards import FIELD
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.refusals import MethodNotAllowedError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """One failure in words. `is_ours`: trying again may help, and the request id whoever looks into it."""

    title: str
    text: str
    icon: str
    is_ours: bool = False
    # In place of `text` when a form was sent: it is unknown how much of it was done.
    text_of_form: str = ""


_NOT_FOUND = Told(
    "There is no such page",
    "It may have been moved or removed, or it isn't yours to see. Check the address, or continue below.",
    icon="search-x",
)
_AWAY = Told(
    "A part of AMS is not reachable",
    "We are most likely restarting it. Try again in a moment.",
    icon="plug-zap",
    is_ours=True,
    text_of_form="We are most likely restarting it, so what you sent may not have been done.",
)
_BY_STATUS = {
    400: Told("That request can't be read", "Go back, and try once more.", icon="circle-alert"),
    403: Told("This page isn't open to you", "", icon="lock"),
    404: _NOT_FOUND,
    405: Told("This page can't be used like that", "Open it from a link or a form.", icon="circle-alert"),
    408: Told("The request took too long to arrive", "Try again.", icon="clock-alert"),
    409: Told("That can't be done at the moment", "", icon="circle-alert"),
    413: Told("That is too much for one form", "Shorten it and try again.", icon="circle-alert"),
    429: Told("Too many tries", "", icon="clock-alert"),
    502: _AWAY,
    503: _AWAY,
    504: _AWAY,
}
_FAULT = Told(
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


async def failure_answer(visit: Visit, error: AppError) -> Response:
    """The page of an error, or the way to sign in."""
    if isinstance(error, UnauthenticatedError):
        return await _sign_in_first(visit, error)
    if (closed := await closed_by_now(visit, error)) is not None:
        return await closed_answer(visit, closed)
    status = error.http_status
    if isinstance(error, InvalidArgumentError) and visit.is_read:
        status = 404  # an id that can't be one: no such page, as for one that doesn't exist
    answer = await _page(visit, status, error.message if status in _SPEAKING else "")
    if isinstance(error, MethodNotAllowedError):
        answer.headers["allow"] = ", ".join(error.allowed)
    if retry_after_s := error.metadata.get("retry_after_s"):
        answer.headers["retry-after"] = retry_after_s
    return answer


async def fault_answer(visit: Visit) -> Response:
    """The page for what nobody foresaw."""
    return await _page(visit, 500, "")


async def _sign_in_first(visit: Visit, error: UnauthenticatedError) -> Response:
    if error.code in _SESSION_CODES and visit.person is not None:
        await visit.forget()
        flash = Flash("Your session has ended. Sign in again to continue.", kind="plain")
    else:
        flash = None
    return await visit.redirect(visit.sign_in_path, flash)


async def _page(visit: Visit, status: int, message: str) -> Response:
    told = _BY_STATUS.get(status, _FAULT)
    visit.has_gaps = False
    text = message or (told.text if visit.is_read else told.text_of_form or told.text)
    if visit.is_partial:
        return await _alert(visit, status, told, text)
    return await visit.render(
        "failures/failure.html",
        status,
        told=told,
        text=text,
        code=status,
        can_resend=told.is_ours and bool(visit.form.values),
        typed=[(name, text) for name, texts in visit.form.values.items() if name != FIELD for text in texts],
        request_id=current_request_id(),
    )


async def _alert(visit: Visit, status: int, told: Told, text: str) -> Response:
    """For a script that asked: where it would have put what it asked for. What a form stands in is left as it
    is, with what was typed: the message stands at the page's edge then."""
    flash = Flash(f"{told.title}. {text}", "bad")
    answer = await visit.render("failures/alert.html", status, flash=flash)
    if not visit.is_read:
        answer.headers["hx-retarget"] = ".toasts"
        answer.headers["hx-reswap"] = "beforeend"
    return answer
