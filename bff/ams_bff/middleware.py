"""What every HTTP request passes through, in one explicit order; each is a pure ASGI wrapper."""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TypeAlias

from ams_common import metrics
from ams_common.clients import clean_device, client_address
from ams_common.context import (
    Client,
    RequestContext,
    current_request_id,
    request_context,
    request_id_or_new,
)
from ams_common.errors import AppError, internal_error
from ams_rest.answers import problem_answer
from ams_rest.http_errors import BodyTooLargeError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024
# Where pictures of 2 MiB are sent: in a form, and in base64. "*": an id.
_LARGER_BODIES = {
    "/settings/profile/picture": 2 * 1024 * 1024 + MAX_BODY_BYTES,
    "/merchant/profile/logo": 2 * 1024 * 1024 + MAX_BODY_BYTES,
    "/api/v1/me/picture": 3 * 1024 * 1024,
    "/api/v1/merchant/profile/logo": 3 * 1024 * 1024,
    # OpenAPI documents of 1 MiB: in a form, and in a JSON text, with what has to be escaped there.
    "/merchant/services/*/openapi": 1024 * 1024 + MAX_BODY_BYTES,
    "/api/v1/services/*/openapi-document": 3 * 1024 * 1024,
}
_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_LOGGED_PATH_CHARACTERS = 200
_CLIENT_GONE = 499

Middleware: TypeAlias = Callable[[ASGIApp], ASGIApp]
# An error as a page for who reads pages; None for who wants a problem.
RenderError: TypeAlias = Callable[[Scope, Receive, AppError], Awaitable[ASGIApp | None]]


def wrap(
    app: ASGIApp,
    is_https: bool,
    trusted_proxies: int,
    voucher: Callable[[], str],
    render_error: RenderError,
) -> ASGIApp:
    """`app` behind all of them, the first outermost."""
    steps: Sequence[Middleware] = [
        request_ids,
        clients(trusted_proxies, voucher),
        access_log,
        default_headers(is_https),
        faults(render_error),
        size_cap,
    ]
    return reduce(lambda inner, step: step(inner), reversed(steps), app)


def request_ids(app: ASGIApp) -> ASGIApp:
    """Gives the request its id, the client's own if harmless, and the answer the same."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = request_id_or_new(Headers(scope=scope).get("x-request-id"))
        reset = request_context.set(RequestContext(request_id=request_id))
        try:
            await app(scope, receive, _with_headers(send, {"x-request-id": request_id}))
        finally:
            request_context.reset(reset)

    return wrapped


def clients(trusted_proxies: int, voucher: Callable[[], str]) -> Middleware:
    """Makes known where the person is that asks: to whatever serves the request, and to the services that it
    asks, which believe it because of the `voucher`."""

    def step(app: ASGIApp) -> ASGIApp:
        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            headers, call = Headers(scope=scope), request_context.get()
            assert call is not None, "request_ids come first"
            peer = scope["client"][0] if scope.get("client") else ""
            address = client_address(peer, headers.getlist("x-forwarded-for"), trusted_proxies)
            device = clean_device(headers.get("user-agent", ""))
            reset = request_context.set(replace(call, client=Client(address, device, voucher())))
            try:
                await app(scope, receive, send)
            finally:
                request_context.reset(reset)

        return wrapped

    return step


def access_log(app: ASGIApp) -> ASGIApp:
    """One line a request; of what the client sent only the method and the path, which hold no secret."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.monotonic()
        status = _CLIENT_GONE

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, noting)
        finally:
            path = scope["raw_path"][:_LOGGED_PATH_CHARACTERS].decode("ascii", "backslashreplace")
            duration_s = time.monotonic() - started_s
            metrics.count_request(scope["method"], status, duration_s)
            line = {
                "method": scope["method"],
                "path": path,
                "status": status,
                "duration_ms": round(duration_s * 1000, 1),
            }
            log.info("http", extra=line)

    return wrapped


def default_headers(is_https: bool) -> Middleware:
    """Headers on every answer that doesn't set them itself."""
    headers = {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    if is_https:
        headers["strict-transport-security"] = "max-age=31536000"

    def step(app: ASGIApp) -> ASGIApp:
        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, _with_headers(send, headers))

        return wrapped

    return step


def faults(render_error: RenderError) -> Middleware:
    """Turns what is raised into a page or a problem: an AppError as it is, anything else as a bare 500."""

    def step(app: ASGIApp) -> ASGIApp:
        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            is_started = False

            async def noting(message: Message) -> None:
                nonlocal is_started
                is_started = is_started or message["type"] == "http.response.start"
                await send(message)

            try:
                await app(scope, receive, noting)
                return
            except ClientDisconnect:
                return
            except Exception as error:
                if not isinstance(error, AppError):
                    log.exception("unexpected error")
                if is_started:
                    raise  # the server cuts the connection: half an answer must not look whole
                known = error if isinstance(error, AppError) else internal_error(current_request_id())
            answer = await render_error(scope, receive, known) or problem_answer(known)
            await answer(scope, receive, send)

        return wrapped

    return step


def size_cap(app: ASGIApp) -> ASGIApp:
    """Refuses bodies over what their path may have: by what they declare, and by what comes."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        most_bytes = _LARGER_BODIES.get(_ID.sub("*", scope["path"]), MAX_BODY_BYTES)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > most_bytes):
            raise _too_large(most_bytes)
        received_bytes = 0

        async def counting() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > most_bytes:
                raise _too_large(most_bytes)
            return message

        await app(scope, counting, send)

    return wrapped


def _too_large(most_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError("body_too_large", f"A body must have at most {most_bytes} bytes.")


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = MutableHeaders(scope=message)
            for name, value in headers.items():
                present.setdefault(name, value)
        await send(message)

    return sending
