"""The web UI as an ASGI app: sessions, forgery checks, views, error pages."""

import logging
from collections.abc import Iterable
from contextlib import suppress

from ams.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from ams_common.errors import AppError
from ams_rest.backends import Backends
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ams_bff.http import guards
from ams_bff.http.api import Api, stubs_over
from ams_bff.http.assets import PREFIX, Assets
from ams_bff.http.browser_session import BrowserSession
from ams_bff.http.closed_roles import open_again
from ams_bff.http.cookies import DeviceCookie, SessionCookie
from ams_bff.http.documentation import Documentation
from ams_bff.http.error_pages import error_page, fault_page
from ams_bff.http.event_streams import EventStreams
from ams_bff.http.feeds import Feeds
from ams_bff.http.posted_forms import read_form
from ams_bff.http.renewal import Renewal
from ams_bff.http.routing import PathViews, View, router_of
from ams_bff.http.sessions import SessionStore
from ams_bff.http.unread_counts import UnreadCounts
from ams_bff.http.visits import Visit
from ams_bff.settings import Settings
from ams_bff.ui.renderer import Renderer

log = logging.getLogger(__name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "referrer-policy": "same-origin",
    "vary": "cookie",
}


class WebUi:
    """Answers every page, form and asset of the web UI."""

    def __init__(
        self,
        settings: Settings,
        backends: Backends,
        store: SessionStore,
        assets: Assets,
        event_streams: EventStreams,
        views: Iterable[View],
        documentation: Documentation,
    ) -> None:
        self._public_url = settings.public_url
        self._stubs = stubs_over(backends.channels)
        self._deadlines = backends.deadlines
        self._feeds = Feeds(settings.read_deadline_s)
        self._unread_counts = UnreadCounts()
        self._store = store
        self._assets = assets
        self._event_streams = event_streams
        self._documentation = documentation
        self._router = router_of(views, self._serve)
        self._cookie = SessionCookie(settings.is_https)
        self._device_cookie = DeviceCookie(settings.is_https)
        self._renewal = Renewal(store, IdentityServiceStub(backends.channels["identity"]))
        self._renderer = Renderer(
            assets.url, settings.consume_url, settings.support_email, is_debug=settings.debug
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AppError for assets and for who doesn't want HTML; pages show it."""
        if scope["path"].startswith(PREFIX):
            await self._assets.answer(Request(scope, receive))(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    async def render_error(self, scope: Scope, receive: Receive, error: AppError) -> Response | None:
        """The page of what was refused before a view was asked; None for who doesn't want HTML."""
        visit = self._visit(Request(scope, receive))
        if not _wants_html(visit.request):
            return None
        with suppress(AppError):  # the page is the same for who can't be known now
            await visit.session.load(self._cookie.read(visit.request))
        return self._finished(visit, await self._error_page(visit, error))

    def _visit(self, request: Request) -> Visit:
        session = BrowserSession(self._store, self._renewal)
        api = Api(self._stubs, session.access_token, self._deadlines)
        return Visit(
            request,
            session,
            api,
            self._renderer,
            self._event_streams,
            self._feeds,
            self._unread_counts,
            self._public_url,
            self._documentation,
        )

    async def _serve(self, views: PathViews, scope: Scope, receive: Receive, send: Send) -> None:
        visit = self._visit(Request(scope, receive))
        try:
            await visit.session.load(self._cookie.read(visit.request))
            view = views.find(scope["method"])
            if view.method == "POST":
                await self._check_form(visit, view)
            await open_again(visit, view.role)
            view.admit(visit)
            answer = await view.handler(visit)
        except ClientDisconnect:
            raise
        except AppError as error:
            if not _wants_html(visit.request):
                raise
            answer = await self._error_page(visit, error)
        except Exception:
            log.exception("unexpected error")
            answer = await fault_page(visit)
        await self._finished(visit, answer)(scope, receive, send)

    async def _check_form(self, visit: Visit, view: View) -> None:
        if view.is_proven_by_path:
            visit.form = await read_form(visit.request)
            return
        guards.check_origin(visit.request, self._public_url)
        if not visit.session.exists:
            view.admit(
                visit
            )  # whose cookie has run out is asked to sign in, not shown that the form is wrong
        form = await read_form(visit.request)
        guards.check_token(visit.session, visit.request, form)
        visit.form = form

    async def _error_page(self, visit: Visit, error: AppError) -> Response:
        """The page of an error; a simpler one when what it needs is down too."""
        try:
            return await error_page(visit, error)
        except AppError as second:
            visit.session.leave()
            return await error_page(visit, second)

    def _finished(self, visit: Visit, answer: Response) -> Response:
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        if answer.status_code >= 500:
            return answer  # whose session couldn't be looked up keeps its cookie
        session = visit.session
        if session.device_token:
            self._device_cookie.add(visit.request, answer, session.device_token)
        if session.is_cookie_due or (session.person is not None and not visit.is_partial):
            self._cookie.write(answer, session.secret)
        return answer


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") or request.headers.get("hx-request") == "true"
