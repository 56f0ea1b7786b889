"""A visit: one request of a browser, and what a view needs to answer it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import quote, urlsplit

from ams.policy.v1.policy_pb2 import Role
from ams_common.errors import DeadlineExceededError, UnavailableError
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ams_bff.http import cookies, guards
from ams_bff.http.api import Api
from ams_bff.http.browser_session import BrowserSession
from ams_bff.http.documentation import Documentation
from ams_bff.http.event_streams import EventStreams
from ams_bff.http.feeds import A, Feeds, Follower, Watch
from ams_bff.http.sessions import Flash
from ams_bff.http.unread_counts import UnreadCounts
from ams_bff.ui import navigation
from ams_bff.ui.forms import Form
from ams_bff.ui.lists import PageUrl
from ams_bff.ui.renderer import Renderer

T = TypeVar("T")


class Visit:
    """The request's facts; `session` is its browser's, `api` what it may ask the services."""

    def __init__(
        self,
        request: Request,
        session: BrowserSession,
        api: Api,
        renderer: Renderer,
        event_streams: EventStreams,
        feeds: Feeds,
        unread_counts: UnreadCounts,
        public_url: str,
        documentation: Documentation,
    ) -> None:
        self.request = request
        self.session = session
        self.api = api
        self.event_streams = event_streams
        self.feeds = feeds
        self.unread_counts = unread_counts
        self.documentation = documentation
        # Of a page that goes on: its figures come from here.
        self.follower: Follower | None = None
        # Names that were asked for already, by kind and id: a page that goes on asks for each once.
        self.names: dict[tuple[str, str], str] = {}
        self.path = request.url.path
        self.query = request.query_params
        self.url = PageUrl(self.path, self.query)
        self.is_https = public_url.startswith("https://")
        # What identity-svc knows this browser by, for the accounts that signed in here before.
        self.device_tokens = cookies.DeviceCookie(self.is_https).read(request)
        self.theme = cookies.theme_of(request)
        self.zone = cookies.zone_of(request)
        # Whether a page is asked for, and nothing is to be done.
        self.is_read = request.method in ("GET", "HEAD")
        self.is_stream = request.headers.get("accept") == "text/event-stream"
        self.is_partial = self.is_stream or request.headers.get("hx-request") == "true"
        # What was posted, once it is known to come from a page of ours.
        self.form = Form()
        # Whether the page does without something that couldn't be asked for.
        self.is_degraded = False
        self._renderer = renderer
        self.public_url = public_url

    @property
    def role(self) -> Role.ValueType:
        """The role whose navigation is shown: the area's, else the active one."""
        person = self.session.person
        if person is None:
            return Role.ROLE_UNSPECIFIED
        of_path = navigation.role_of_path(self.path)
        if of_path in (*person.roles, *person.closed_roles):
            return of_path
        # Who was stopped in their only role reads so there.
        return person.active_role or next(iter(person.closed_roles), Role.ROLE_UNSPECIFIED)

    @property
    def unread(self) -> int:
        """How many notifications the person hasn't read, as far as this process knows."""
        return self.unread_counts.known(self.session.person.user_id) if self.session.person else 0

    @property
    def query_text(self) -> str:
        """The query as it came, with its question mark; "" for none."""
        query = self.request.url.query
        return f"?{query}" if query else ""

    @property
    def address(self) -> str:
        """Where the reader is: path and query."""
        return f"{self.path}{self.query_text}"

    @property
    def form_page(self) -> str | None:
        """The page that a form was sent from, if it is one of ours."""
        referrer = self.request.headers.get("referer", "")
        if not guards.is_ours(referrer, self.request, self.public_url):
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

    def parameter(self, name: str) -> str:
        """Returns a variable of the path as text."""
        return str(self.request.path_params[name])

    async def or_none_if_down(self, asked: Awaitable[T]) -> T | None:
        """For what a page can do without: None when its service can't be reached, which the page then says.
        A stream has nothing to say in place of what is shown already: it raises."""
        try:
            return await asked
        except (UnavailableError, DeadlineExceededError):
            if self.is_stream:
                raise
            self.is_degraded = True
            return None

    async def ask_or_follow(self, watch: Watch[A], request: Message, asked: Callable[[], Awaitable[A]]) -> A:
        """What `asked` answers; on a page that goes on, the latest of the same that `watch` tells. Raises
        AppError."""
        if self.follower is None:
            return await asked()
        owner_id = self.session.person.user_id if self.session.person else ""
        return await self.follower.latest(watch, owner_id, self.api, request)

    async def render(self, template: str, status: int | None = None, **context: object) -> Response:
        """A page. A `form` among the context gives its status."""
        form = context.get("form")
        if status is None:
            status = form.status if isinstance(form, Form) else 200
        flashes = () if self.is_partial else await self.session.take_flashes()
        return HTMLResponse(self.fragment(template, flashes=flashes, **context), status)

    def fragment(self, template: str, **context: object) -> str:
        """A page's text. One that extends `layout` is only its block `results` for a script."""
        layout = "layout/part.html" if self.is_partial else "layout/app.html"
        return self._renderer.render(template, visit=self, zone=self.zone, layout=layout, **context)

    async def redirect(self, path: str, flash: str | Flash | None = None) -> Response:
        """On to another page of ours, with something to say there."""
        if flash is not None:
            await self.session.add_flash(Flash(flash) if isinstance(flash, str) else flash)
        if self.is_partial:
            return Response(status_code=204, headers={"hx-redirect": path})
        return RedirectResponse(path, 303)


def safe_path(text: str | None) -> str | None:
    """`text` if it is a path of ours and can't lead elsewhere, else None."""
    if not text or len(text) > 2000 or not text.startswith("/") or text.startswith("//"):
        return None
    # Browsers read a backslash as a slash and drop control characters, so that "/\evil.example" and
    # "/<tab>/evil.example" lead to another site.
    if "\\" in text or any(ord(character) < 33 or ord(character) == 127 for character in text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if not parts.scheme and not parts.netloc else None
