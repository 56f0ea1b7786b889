"""The HTTP side: the OCI distribution protocol at /v2/, signing in at /token, health."""

import logging
import time

from ams_common.context import Call, current_call, request_id_or_new
from ams_common.errors import AppError, InternalError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_svc.oci.blobs import Blobs
from registry_svc.oci.errors import OciError
from registry_svc.oci.manifests import Manifests
from registry_svc.oci.streams import BrokenOffError
from registry_svc.oci.tokens import Door
from registry_svc.oci.uploads import UploadFront
from registry_svc.providers.provider import ProviderError, RefusedByProviderError

log = logging.getLogger(__name__)


def build_front(
    door: Door, blobs: Blobs, uploads: UploadFront, manifests: Manifests, *, max_requests: int
) -> ASGIApp:
    """Everything that docker, podman and skopeo talk to."""
    manifest_methods = ["GET", "HEAD", "PUT", "DELETE"]
    upload_methods = ["GET", "PATCH", "PUT", "DELETE"]
    routes = [
        Route("/healthz", _alive),
        Route("/token", door.token, methods=["GET", "POST"]),
        Route("/v2/", door.version),
        Route("/v2", door.version),
        Route("/v2/_catalog", door.catalogue),
        Route("/v2/{name:path}/tags/list", manifests.tags),
        Route("/v2/{name:path}/manifests/{reference}", manifests.manifest, methods=manifest_methods),
        Route("/v2/{name:path}/blobs/uploads/", uploads.start, methods=["POST"]),
        Route("/v2/{name:path}/blobs/uploads", uploads.start, methods=["POST"]),
        Route("/v2/{name:path}/blobs/uploads/{upload}", uploads.upload, methods=upload_methods),
        Route("/v2/{name:path}/blobs/{digest}", blobs.blob, methods=["GET", "HEAD", "DELETE"]),
    ]
    # A bare router: an application's own middleware would answer errors before Faults sees them.
    router = Router(routes, redirect_slashes=False, default=_nothing_here)
    return Faults(router, max_requests)


class Faults:
    """Gives each request its id, logs it, and turns what it raises into an OCI error: the unexpected as
    UNKNOWN, without its text. Beyond `max_requests` at once it sends away."""

    def __init__(self, app: ASGIApp, max_requests: int) -> None:
        self._app = app
        self._max_requests = max_requests
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        call = Call(request_id=request_id_or_new(Headers(scope=scope).get("x-request-id")))
        reset = current_call.set(call)
        answer = _Answer(send, call.request_id)
        started_s = time.monotonic()
        self._under_way += 1
        try:
            await self._serve(scope, receive, answer)
        finally:
            self._under_way -= 1
            fields = {"method": scope["method"], "path": scope["path"], "status": answer.status}
            duration_ms = round((time.monotonic() - started_s) * 1000, 1)
            log.info("request", extra={**fields, "duration_ms": duration_ms})
            current_call.reset(reset)

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            if self._under_way > self._max_requests:
                raise _too_many()
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            log.info("the client went away")
        except BrokenOffError as reason:
            log.warning("an answer was broken off", extra={"reason": str(reason)})
        except Exception as error:
            refusal = _as_oci(error)
            if answer.status:
                raise  # too late to say anything: the connection breaks, and the client sees that
            await refusal.response()(scope, receive, answer)


class _Answer:
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


def _as_oci(error: Exception) -> OciError:
    if isinstance(error, OciError):
        return error
    if isinstance(error, RefusedByProviderError):
        return OciError(error.code, error.message)
    if isinstance(error, ProviderError):
        log.error("the provider failed", extra={"error": str(error)})
        return OciError("UNAVAILABLE", "The image store is not reachable. Try again shortly.")
    if isinstance(error, AppError) and not isinstance(error, InternalError):
        log.warning("a neighbour can't be asked", extra={"code": error.code})
        return OciError("UNAVAILABLE", "A part of the system is not reachable. Try again shortly.")
    log.error("unexpected error", exc_info=error)
    return OciError("UNKNOWN", "Something went wrong on our side.")


def _too_many() -> OciError:
    """The body of the refused request is left unread: the connection ends."""
    headers = {"Retry-After": "5", "Connection": "close"}
    return OciError("TOOMANYREQUESTS", "Too much is under way. Try again shortly.", headers, status=503)


async def _alive(request: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """A path that is none of ours."""
    refusal = OciError("NAME_UNKNOWN", "There is nothing here.")
    await refusal.response()(scope, receive, send)
