"""The HTTP side: the OCI distribution protocol at /v2/, signing in at /token, health."""

import logging
import time
from collections.abc import Awaitable, Callable

from ams_common import metrics
from ams_common.clients import clean_device, client_address
from ams_common.context import Client, RequestContext, request_context, request_id_or_new
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_svc.oci.blobs import Blobs
from registry_svc.oci.errors import OciError, as_oci
from registry_svc.oci.manifests import Manifests
from registry_svc.oci.streams import BrokenOffError
from registry_svc.oci.tokens import TokenEndpoint
from registry_svc.oci.uploads import BlobUploads

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


def build_app(
    tokens: TokenEndpoint,
    blobs: Blobs,
    uploads: BlobUploads,
    manifests: Manifests,
    *,
    max_requests: int,
    trusted_proxies: int,
) -> ASGIApp:
    """Builds all that docker, podman and skopeo talk to."""
    image = "/v2/{name:path}"
    routes = [
        _route("/healthz", GET=_alive),
        _route("/token", GET=tokens.get_token, POST=tokens.post_token),
        _route("/v2/", GET=tokens.version),
        _route("/v2", GET=tokens.version),
        _route("/v2/_catalog", GET=tokens.catalog),
        _route(f"{image}/tags/list", GET=manifests.list_tags),
        _route(
            f"{image}/manifests/{{reference}}",
            GET=manifests.get_manifest,
            PUT=manifests.put_manifest,
            DELETE=manifests.delete_manifest,
        ),
        _route(f"{image}/blobs/uploads/", POST=uploads.start_blob_upload),
        _route(f"{image}/blobs/uploads", POST=uploads.start_blob_upload),
        _route(
            f"{image}/blobs/uploads/{{upload}}",
            GET=uploads.get_upload_status,
            PATCH=uploads.patch_blob_data,
            PUT=uploads.put_blob_upload_complete,
            DELETE=uploads.cancel_blob_upload,
        ),
        _route(
            f"{image}/blobs/{{digest}}", GET=blobs.get_blob, HEAD=blobs.head_blob, DELETE=blobs.delete_blob
        ),
    ]
    # A bare router: an application's own middleware would answer errors before Faults sees them.
    router = Router(routes, redirect_slashes=False, default=_nothing_here)
    return Faults(router, max_requests, trusted_proxies)


def _route(path: str, **endpoints: Endpoint) -> Route:
    """One route for all methods of a path: of several, a 405 would name the first one's methods only."""

    async def serve(request: Request) -> Response:
        # Starlette lets HEAD in wherever GET is.
        method = request.method if request.method in endpoints else "GET"
        return await endpoints[method](request)

    return Route(path, serve, methods=list(endpoints))


class Faults:
    """Gives each request its id and its place, logs it, and turns what it raises into an OCI error: the
    unexpected as UNKNOWN, without its text. Beyond `max_requests` at once it sends away."""

    def __init__(self, app: ASGIApp, max_requests: int, trusted_proxies: int) -> None:
        self._app = app
        self._max_requests = max_requests
        self._trusted_proxies = trusted_proxies
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        address = client_address(peer, headers.getlist("x-forwarded-for"), self._trusted_proxies)
        context = RequestContext(
            request_id=request_id_or_new(headers.get("x-request-id")),
            client=Client(address, clean_device(headers.get("user-agent", ""))),
        )
        reset = request_context.set(context)
        sender = _Sender(send, context.request_id)
        started_s = time.monotonic()
        self._under_way += 1
        try:
            await self._serve(scope, receive, sender)
        finally:
            self._under_way -= 1
            fields = {"method": scope["method"], "path": scope["path"], "status": sender.status}
            duration_s = time.monotonic() - started_s
            metrics.count_request(scope["method"], sender.status, duration_s)
            log.info("request", extra={**fields, "duration_ms": round(duration_s * 1000, 1)})
            request_context.reset(reset)

    async def _serve(self, scope: Scope, receive: Receive, sender: "_Sender") -> None:
        try:
            # Before uvicorn's own bound is met, whose 503 holds no OCI error: that one lies higher.
            if self._under_way > self._max_requests:
                raise _too_many()
            await self._app(scope, receive, sender)
        except ClientDisconnect:
            log.info("the client went away")
        except BrokenOffError as reason:
            log.warning("an answer was broken off", extra={"reason": str(reason)})
        except Exception as error:
            answer = as_oci(error).response()
            if sender.status:
                raise  # too late to say anything: the connection breaks, and the client sees that
            await answer(scope, receive, sender)


class _Sender:
    """Sends, and remembers the status; adds the headers that every answer has."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            headers["X-Request-Id"] = self._request_id
            headers["Docker-Distribution-Api-Version"] = "registry/2.0"
            headers["X-Content-Type-Options"] = "nosniff"
            message = {**message, "headers": headers.raw}
        await self._send(message)


def _too_many() -> OciError:
    # The request's body is left unread: the connection can't be used for anything else.
    headers = {"Retry-After": "5", "Connection": "close"}
    return OciError("TOOMANYREQUESTS", "Too much is under way. Try again shortly.", headers, status=503)


async def _alive(request: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    await OciError("NAME_UNKNOWN", "There is nothing here.").response()(scope, receive, send)
