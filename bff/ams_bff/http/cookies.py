"""The cookies that we set: the session, and how a reader likes to see pages."""

from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from ams_bff.http.sessions import IDLE_S

THEMES = ("system", "light", "dark")

_YEAR_S = 365 * 24 * 3600
# Of how many accounts a browser keeps what it is known by, and how long one is at most.
_ACCOUNTS = 4
_MAX_TOKEN = 200
_THEME, _ZONE = "ams_theme", "ams_zone"


class SessionCookie:
    """Opaque, for our own requests only, out of reach of scripts."""

    def __init__(self, is_https: bool) -> None:
        self._is_https = is_https
        # The prefix makes browsers refuse one that another host of the domain has set (RFC 6265bis).
        self.name = "__Host-ams_session" if is_https else "ams_session"

    def read(self, request: Request) -> str | None:
        """The session's secret, None for a browser that has none."""
        return request.cookies.get(self.name)

    def write(self, response: Response, secret: str) -> None:
        """Has the browser keep it for another 30 days."""
        response.set_cookie(
            self.name, secret, max_age=IDLE_S, path="/", secure=self._is_https, httponly=True, samesite="lax"
        )


class DeviceCookie:
    """What identity-svc knows a browser by that has signed in before, for each of its last accounts."""

    def __init__(self, is_https: bool) -> None:
        self._is_https = is_https
        self.name = "__Host-ams_device" if is_https else "ams_device"

    def read(self, request: Request) -> list[str]:
        """The newest first."""
        tokens = request.cookies.get(self.name, "").split("~")
        return [token for token in tokens if 0 < len(token) <= _MAX_TOKEN][:_ACCOUNTS]

    def add(self, request: Request, response: Response, token: str) -> None:
        """Has the browser keep one more for a year."""
        tokens = "~".join([token, *self.read(request)][:_ACCOUNTS])
        response.set_cookie(
            self.name, tokens, max_age=_YEAR_S, path="/", secure=self._is_https, httponly=True, samesite="lax"
        )


def theme_of(request: Request) -> str:
    """One of THEMES: what the reader has chosen."""
    theme = request.cookies.get(_THEME, "")
    return theme if theme in THEMES else THEMES[0]


def keep_theme(response: Response, theme: str, is_https: bool) -> None:
    """Has the browser keep the choice for a year."""
    response.set_cookie(_THEME, theme, max_age=_YEAR_S, path="/", secure=is_https, samesite="lax")


def zone_of(request: Request) -> ZoneInfo:
    """The reader's time zone, which a script puts into a cookie; UTC until then."""
    try:
        return ZoneInfo(request.cookies.get(_ZONE, "UTC").replace("%2F", "/"))
    except (ValueError, OSError, KeyError):  # malformed, a directory, unknown
        return ZoneInfo("UTC")
