"""The whole HTTP application."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeAlias

from ams_common.errors import AppError
from ams_common.redis_client import RedisClient
from ams_common.sealing import Sealer
from ams_rest import openapi
from ams_rest.api import RestApi
from ams_rest.areas import AREAS
from ams_rest.backends import Backends
from ams_rest.call_limits import CallLimits
from ams_rest.http_errors import MethodNotAllowedError
from ams_rest.routes import PREFIX, RouteTable, routes_of
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ams_bff import middleware
from ams_bff.http.assets import Assets
from ams_bff.http.documentation import Documentation
from ams_bff.http.event_streams import EventStreams
from ams_bff.http.secret_scanning import PATH, SecretScanning
from ams_bff.http.sessions import SessionStore
from ams_bff.http.web_ui import WebUi
from ams_bff.settings import Settings
from ams_bff.site import Site
from ams_bff.views import VIEWS

_PICTURES = "/pictures/"
SCANNING_PATH = PATH.encode()
Endpoint: TypeAlias = Callable[[], Awaitable[Response]]


def build_app(
    settings: Settings,
    backends: Backends,
    redis: RedisClient,
    limits: CallLimits,
    event_streams: EventStreams,
    voucher: Callable[[], str],
) -> ASGIApp:
    """`voucher` gives the service token because of which services believe us where a person is; "" for none.

    Raises RouteError, TemplateError or SchemaError when the contracts can't be served as they stand,
    SettingsError when the web UI's assets aren't built.
    """
    table = RouteTable(routes_of(AREAS))
    document = openapi.build(table.routes, settings.public_url, settings.gateway_url)
    site = Site(backends, document)
    endpoints: Mapping[bytes, Endpoint] = {
        b"/healthz": site.healthz,
        b"/readyz": site.readyz,
        b"/.well-known/jwks.json": site.jwks,
        f"{PREFIX}/v1/openapi.json".encode(): site.openapi,
    }
    rest = RestApi(table, backends, limits, is_pretty=settings.debug)
    scanning = SecretScanning(backends)
    store = SessionStore(redis, Sealer(settings.sealing_key))
    documentation = Documentation.of(document)
    ui = WebUi(settings, backends, store, Assets.load(), event_streams, VIEWS, documentation)

    async def render_error(scope: Scope, receive: Receive, error: AppError) -> ASGIApp | None:
        return None if _is_rest(scope) else await ui.render_error(scope, receive, error)

    def endpoint_of(scope: Scope) -> Endpoint | None:
        path: str = scope["path"]
        if path.startswith(_PICTURES):
            return partial(site.picture, path.removeprefix(_PICTURES))
        return endpoints.get(scope["raw_path"])

    return middleware.wrap(
        _beside(rest, endpoint_of, scanning, ui),
        settings.is_https,
        settings.trusted_proxies,
        voucher,
        render_error,
    )


def _beside(
    rest: ASGIApp,
    endpoint_of: Callable[[Scope], Endpoint | None],
    scanning: SecretScanning,
    ui: ASGIApp,
) -> ASGIApp:
    """What `endpoint_of` knows is to be read only; reports of found keys go to `scanning`, what else is under
    PREFIX to `rest`, the rest to the web UI."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = endpoint_of(scope)
        if scope["raw_path"] == SCANNING_PATH and scope["method"] == "POST":
            await (await scanning.answer(Request(scope, receive)))(scope, receive, send)
        elif endpoint is None:
            await (rest if _is_rest(scope) else ui)(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowedError(["GET", "HEAD"])
        else:
            await (await endpoint())(scope, receive, send)

    return app


def _is_rest(scope: Scope) -> bool:
    return f"{scope['path']}/".startswith(f"{PREFIX}/")
