"""The whole HTTP application."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from ams_common.errors import AppError
from ams_rest import openapi
from ams_rest.api import RestApi
from ams_rest.areas import AREAS
from ams_rest.backends import Backends
from ams_rest.http_errors import MethodNotAllowedError
from ams_rest.routes import PREFIX, RouteTable, routes_of
from redis.asyncio import Redis
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ams_bff import middleware
from ams_bff.http.assets import Assets
from ams_bff.http.event_streams import EventStreams
from ams_bff.http.sessions import SessionStore
from ams_bff.http.web_ui import WebUi
from ams_bff.settings import Settings
from ams_bff.site import Site
from ams_bff.views import VIEWS

Endpoint: TypeAlias = Callable[[], Awaitable[Response]]


def build_app(settings: Settings, backends: Backends, redis: Redis, event_streams: EventStreams) -> ASGIApp:
    """Raises RouteError, TemplateError or SchemaError when the contracts can't be served as they stand,
    SettingsError when the web UI's assets aren't built."""
    table = RouteTable(routes_of(AREAS))
    site = Site(backends, openapi.build(table.routes, settings.public_url))
    endpoints: Mapping[bytes, Endpoint] = {
        b"/healthz": site.healthz,
        b"/readyz": site.readyz,
        b"/.well-known/jwks.json": site.jwks,
        f"{PREFIX}/v1/openapi.json".encode(): site.openapi,
    }
    rest = RestApi(table, backends, is_pretty=settings.debug)
    ui = WebUi(settings, backends, SessionStore(redis), Assets.load(), event_streams, VIEWS)

    async def render_error(scope: Scope, receive: Receive, error: AppError) -> ASGIApp | None:
        return None if _is_rest(scope) else await ui.render_error(scope, receive, error)

    return middleware.wrap(_beside(rest, endpoints, ui), settings.is_https, render_error)


def _beside(rest: ASGIApp, endpoints: Mapping[bytes, Endpoint], ui: ASGIApp) -> ASGIApp:
    """`endpoints` by their exact path, to be read only; what is under PREFIX goes to `rest`, the rest to
    the web UI."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = endpoints.get(scope["raw_path"])
        if endpoint is None:
            await (rest if _is_rest(scope) else ui)(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowedError(["GET", "HEAD"])
        else:
            await (await endpoint())(scope, receive, send)

    return app


def _is_rest(scope: Scope) -> bool:
    return f"{scope['path']}/".startswith(f"{PREFIX}/")
