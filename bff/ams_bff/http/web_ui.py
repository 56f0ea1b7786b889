"""The web UI as an ASGI app: sessions, forgery checks, views, error pages."""

import logging
from collections.abc import Iterable
from contextlib import suppress

from ams_common.errors import AppError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ams_bff.http import assets, guards
from ams_bff.http.api import Services
from ams_bff.http.closed_roles import open_again
from ams_bff.http.cookies import SessionCookie
from ams_bff.http.error_pages import failure_answer, fault_answer
from ams_bff.http.event_streams import Streams
from ams_bff.http.renewal import Renewal
from ams_bff.http.routing import View, Views
from ams_bff.http.sessions import SessionStore
from ams_bff.http.visits import Visit, current_visit
from ams_bff.settings import Settings
from ams_bff.ui.forms import Form
from ams_bff.ui.renderer import Pages

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
    """Every page, form and asset."""

    def __init__(
        self,
        settings: Settings,
        services: Services,
        store: SessionStore,
        own_assets: assets.Assets,
        streams: Streams,
        views: Iterable[View],
    ) -> None:
        self._public_url = settings.public_url
        self._services = services
        self._store = store
        self._assets = own_assets
        self._streams = streams
        self._views = Views(views)
        self._cookie = SessionCookie(settings.is_https)
        self._renewal = Renewal(store, services.identity)
        self._pages = Pages(
            own_assets, current_visit.get, settings.consume_url, settings.support_email, settings.debug
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AppError for assets and for who doesn't want HTML; pages show it."""
        request = Request(scope, receive)
        if scope["path"].startswith(assets.PREFIX):
            await self._assets.answer(request)(scope, receive, send)
            return
        answer = await self._answer(request)
        await answer(scope, receive, send)

    async def tell(self, scope: Scope, receive: Receive, error: AppError) -> Response | None:
        """The page of what was refused before a view was asked; None for who doesn't want HTML."""
        request = Request(scope, receive)
        if not _wants_html(request):
            return None
        visit = self._visit(request)
        reset = current_visit.set(visit)
        try:
            with suppress(AppError):  # the page is the same for who can't be known now
                visit.resume(await self._store.load(self._cookie.read(request)))
            return self._finished(visit, await self._failed(visit, error))
        finally:
            current_visit.reset(reset)

    def _visit(self, request: Request) -> Visit:
        return Visit(
            request, self._services, self._store, self._renewal, self._pages, self._streams, self._public_url
        )

    async def _answer(self, request: Request) -> Response:
        visit = self._visit(request)
        reset = current_visit.set(visit)
        try:
            answer = await self._serve(visit)
        except ClientDisconnect:
            raise
        except AppError as error:
            if not _wants_html(request):
                raise
            answer = await self._failed(visit, error)
        except Exception:
            log.exception("unexpected error")
            answer = await fault_answer(visit)
        finally:
            current_visit.reset(reset)
        return self._finished(visit, answer)

    async def _serve(self, visit: Visit) -> Response:
        request = visit.request
        visit.resume(await self._store.load(self._cookie.read(request)))
        view = self._views.find(request.scope)
        if view.method == "POST":
            await self._check_form(visit, view)
        await open_again(visit, view.role)
        view.admit(visit)
        return await view.handler(visit)

    async def _check_form(self, visit: Visit, view: View) -> None:
        guards.check_origin(visit.request, self._public_url)
        if visit.known_session is None:
            view.admit(visit)  # whose cookie has run out is asked to sign in, not told of a wrong form
        form = Form.parse(await visit.request.body())
        guards.check_token(visit.known_session, visit.request, form)
        visit.form = form

    async def _failed(self, visit: Visit, error: AppError) -> Response:
        """The page of an error; a simpler one when what it needs is away too."""
        try:
            return await failure_answer(visit, error)
        except AppError as second:
            visit.resume(None)
            return await failure_answer(visit, second)

    def _finished(self, visit: Visit, answer: Response) -> Response:
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        if answer.status_code >= 500:
            return answer  # whose session couldn't be looked up keeps its cookie
        if visit.is_cookie_due or (visit.person is not None and not visit.is_partial):
            self._cookie.write(answer, visit.session.secret)
        return answer


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") or request.headers.get("hx-request") == "true"
