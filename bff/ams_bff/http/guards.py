"""Forgery: whether a form was sent from a page of ours, by the browser it was made for."""

import hmac
from urllib.parse import urlsplit

from ams_common.errors import PermissionDeniedError
from starlette.requests import Request

from ams_bff.http.browser_session import BrowserSession
from ams_bff.ui.forms import Form

FIELD = "csrf"


def check_origin(request: Request, public_url: str) -> None:
    """Raises PermissionDeniedError for a form that another site sends. A browser that says neither where a
    request comes from nor how (both very old) is left to the token."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise _foreign()
    origin = request.headers.get("origin")
    if origin is None:
        return
    if not is_ours(origin, request, public_url):
        raise _foreign()


def is_ours(url: str, request: Request, public_url: str) -> bool:
    """Whether an origin, or a page, is of this site."""
    try:
        theirs, ours = urlsplit(url), urlsplit(public_url)
    except ValueError:
        return False
    is_public = (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc)
    # In development people open 127.0.0.1, localhost and whatever their container is called.
    is_host = ours.scheme == "http" and theirs.netloc == request.headers.get("host")
    return is_public or is_host


def check_token(session: BrowserSession, request: Request, form: Form) -> None:
    """Raises PermissionDeniedError when the form wasn't made for this session."""
    given = form[FIELD] or request.headers.get("x-csrf-token", "")
    if not session.exists or not hmac.compare_digest(session.csrf_token.encode(), given.encode()):
        raise PermissionDeniedError(
            "form_expired", "This form has expired, or was made for another session. Open the page again."
        )


def _foreign() -> PermissionDeniedError:
    return PermissionDeniedError("form_from_elsewhere", "This form was sent from another site.")
