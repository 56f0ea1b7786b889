"""A visit: one request of a browser, and what views may do for it."""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.policy.v1.policy_pb2 import Role
from ams_common.client import invoke
from ams_common.errors import (
    DeadlineExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ams_bff.http import cookies, guards
from ams_bff.http.api import Services
from ams_bff.http.event_streams import Streams
from ams_bff.http.renewal import Renewal
from ams_bff.http.sessions import Flash, Person, Session, SessionStore, new_session
from ams_bff.ui import navigation
from ams_bff.ui.forms import Form
from ams_bff.ui.renderer import Pages

T = TypeVar("T")

_DEADLINE_S = 10.0

current_visit: ContextVar["Visit | None"] = ContextVar("current_visit", default=None)


class Visit:
    """Views get one and answer with what its methods make."""

    def __init__(
        self,
        request: Request,
        services: Services,
        store: SessionStore,
        renewal: Renewal,
        pages: Pages,
        streams: Streams,
        public_url: str,
    ) -> None:
        self.request = request
        self.is_https = public_url.startswith("https://")
        self.services = services
        self.theme = cookies.theme_of(request)
        self.zone = cookies.zone_of(request)
        self.path = request.url.path
        self.is_stream = request.headers.get("accept") == "text/event-stream"
        self.is_partial = self.is_stream or request.headers.get("hx-request") == "true"
        # What was posted, once it is known to come from a page of ours.
        self.form = Form()
        # Whether the page does without something that couldn't be asked for.
        self.has_gaps = False
        self._session: Session | None = None
        self._store = store
        self._renewal = renewal
        self._pages = pages
        self._public_url = public_url
        self.streams = streams
        self.is_cookie_due = False

    # Who it is.

    @property
    def session(self) -> Session:
        """The browser's session, a new one where it has none."""
        if self._session is None:
            self._session = new_session()
            self.is_cookie_due = True
        return self._session

    @property
    def known_session(self) -> Session | None:
        """The session that the browser came with."""
        return self._session

    def resume(self, session: Session | None) -> None:
        """Go on with the session of the browser's cookie."""
        self._session = session

    @property
    def person(self) -> Person | None:
        """Who is signed in."""
        return self._session.person if self._session is not None else None

    @property
    def role(self) -> Role.ValueType:
        """The role whose navigation is shown: the area's, else the active one."""
        if self.person is None:
            return Role.ROLE_UNSPECIFIED
        of_path = navigation.role_of_path(self.path)
        if of_path in (*self.person.roles, *self.person.closed_roles):
            return of_path
        # Who was stopped in their only role is told so there.
        return self.person.active_role or next(iter(self.person.closed_roles), Role.ROLE_UNSPECIFIED)

    @property
    def csrf_token(self) -> str:
        """What every form of this page carries."""
        return self.session.csrf_token

    @property
    def notes(self) -> Mapping[str, Any]:
        """What was kept for this browser between two forms."""
        return self._session.notes if self._session is not None else {}

    # What it asks.

    @property
    def query(self) -> Mapping[str, str]:
        """The URL's query."""
        return self.request.query_params

    @property
    def address(self) -> str:
        """Where the reader is: path and query."""
        query = self.request.url.query
        return f"{self.path}?{query}" if query else self.path

    @property
    def is_read(self) -> bool:
        """Whether a page is asked for, and nothing is to be done."""
        return self.request.method in ("GET", "HEAD")

    @property
    def form_page(self) -> str | None:
        """The page that a form was sent from, if it is one of ours."""
        referrer = self.request.headers.get("referer", "")
        if not guards.is_ours(referrer, self.request, self._public_url):
            return None
        parts = urlsplit(referrer)
        return safe_path(f"{parts.path}?{parts.query}" if parts.query else parts.path)

    @property
    def sign_in_path(self) -> str:
        """Where to sign in, and come back from: to the page, or to the form that was sent."""
        back = safe_path(self.address) if self.is_read and not self.is_partial else self.form_page
        if back is None or urlsplit(back).path in ("/", "/login", "/register"):
            return "/login"
        return f"/login?next={quote(back, safe='/')}"

    def url_with(self, **parameters: str) -> str:
        """This page with other parameters in its query; "" takes one out."""
        return self.beside(self.path, **parameters)

    def beside(self, path: str, **parameters: str) -> str:
        """Another page with this one's query, and other parameters in it."""
        together = {**self.query, **parameters}
        query = urlencode({name: text for name, text in together.items() if text})
        return f"{path}?{query}" if query else path

    def parameter(self, name: str) -> str:
        """A variable of the path."""
        return str(self.request.path_params[name])

    async def ask(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        """Call a service's method for the person signed in. Raises AppError."""
        token = await self._renewal.access_token(self._session) if self._session is not None else None
        return await invoke(method, request, token=token, timeout_s=_DEADLINE_S)

    async def unless_away(self, asked: Awaitable[T]) -> T | None:
        """For what a page can do without: None when its service can't be reached, which the page then says.
        A stream has nothing to say in place of what is shown already: it raises."""
        try:
            return await asked
        except (UnavailableError, DeadlineExceededError):
            if self.is_stream:
                raise
            self.has_gaps = True
            return None

    async def prove(self, role: Role.ValueType) -> None:
        """What was so when the visit began is so still: asks Redis and identity-svc, for a visit that lasts.
        Raises UnauthenticatedError when the session has ended, PermissionDeniedError when the person is
        blocked or suspended in the role."""
        self._session = await self._store.load(self.session.secret)
        if self.person is None:
            raise UnauthenticatedError("session_ended", "Your session has ended. Sign in again.")
        known = await self.ask(self.services.identity.GetMe, identity_pb.GetMeRequest())
        if role not in known.roles:
            raise PermissionDeniedError("role_required", "Your account doesn't have the role for this page.")

    # What it is answered.

    async def render(self, template: str, status: int | None = None, **context: Any) -> Response:
        """A page. A `form` among the context gives its status."""
        form = context.get("form")
        if status is None:
            status = form.status if isinstance(form, Form) else 200
        flashes: tuple[Flash, ...] = ()
        if self._session is not None and not self.is_partial:
            flashes = await self._store.take_flashes(self._session)
        return HTMLResponse(self._pages.render(template, self, flashes=flashes, **context), status)

    def fragment(self, template: str, **context: Any) -> str:
        """A part of a page, as text."""
        return self._pages.render(template, self, **context)

    async def redirect(self, path: str, flash: str | Flash | None = None) -> Response:
        """On to another page of ours, with something to tell there."""
        if flash is not None:
            told = Flash(flash) if isinstance(flash, str) else flash
            await self._store.add_flash(self.session, told)
        if self.is_partial:
            return Response(status_code=204, headers={"hx-redirect": path})
        return RedirectResponse(path, 303)

    # How it changes.

    async def sign_in(self, answer: Any) -> None:
        """identity-svc has given out a session."""
        self._session = await self._store.begin(self.session, answer)
        self.is_cookie_due = True

    async def forget(self) -> None:
        """The session ends here; identity-svc isn't told."""
        if self._session is not None:
            await self._store.end(self._session)
        self._session = new_session()
        self.is_cookie_due = True

    async def act_as(self, role: Role.ValueType) -> None:
        """Raises PermissionDeniedError when the person doesn't hold the role."""
        await self._renewal.act_as(self.session, role)

    async def keep_notes(self, notes: Mapping[str, Any]) -> None:
        """For half an hour, for this browser: replaces `session.notes`."""
        await self._store.keep_notes(self.session, notes)


def safe_path(text: str | None) -> str | None:
    """`text` if it is a path of ours and can't lead elsewhere, else None. Browsers read a backslash as a
    slash and drop control characters, so "/\\evil.example" and "/\\t/evil.example" lead away."""
    if not text or len(text) > 2000 or not text.startswith("/") or text.startswith("//"):
        return None
    if "\\" in text or any(ord(character) < 33 or ord(character) == 127 for character in text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if not parts.scheme and not parts.netloc else None
