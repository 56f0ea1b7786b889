"""The REST API as an ASGI app: every route of the contracts."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ams_common.errors import InvalidArgumentError, UnauthenticatedError
from google.protobuf.message import Message
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ams_rest import transcode
from ams_rest.answers import json_answer
from ams_rest.backends import Backends
from ams_rest.http_errors import BodyTooSlowError, UnsupportedMediaTypeError
from ams_rest.routes import Route, RouteTable
from ams_rest.token_trading import TokenTrader

P = ParamSpec("P")
T = TypeVar("T")

_BODY_DEADLINE_S = 15.0
# Converting takes about 0.4 µs a byte, so what is larger would keep other requests waiting.
_LARGE_BYTES = 32 * 1024


class RestApi:
    """Answers what the route table knows; everything else is refused with an AppError."""

    def __init__(self, routes: RouteTable, backends: Backends, is_pretty: bool) -> None:
        self._routes = routes
        self._backends = backends
        self._trader = TokenTrader(backends)
        self._is_pretty = is_pretty

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AppError."""
        request = Request(scope, receive)
        match = self._routes.find(request.method, scope["raw_path"])
        authorization = _authorization(request.headers)
        body = await _read_body(request)
        if body:
            _check_media_type(request.headers)
        message = await _convert(len(body), transcode.read_request, match, scope["query_string"], body)
        reply = await self._call(match.route, message, authorization)
        answer = await _convert(reply.ByteSize(), self._answer, reply)
        await answer(scope, receive, send)

    async def _call(self, route: Route, message: Message, authorization: str | None) -> Message:
        """The RPC's answer to whom the header names: with an access token as it is, or traded for it."""
        try:
            traded = await self._trader.trade(authorization)
            reply: Message = await self._backends.call(route.area, route.rpc, message, traded)
        except UnauthenticatedError as error:
            # What was kept says what isn't so any more. Nothing was done yet: who calls comes first.
            if not self._trader.forget(authorization) or error.code != "token_ended":
                raise
            traded = await self._trader.trade(authorization)
            reply = await self._backends.call(route.area, route.rpc, message, traded)
        return reply

    def _answer(self, reply: Message) -> Response:
        return json_answer(transcode.answer_document(reply), is_pretty=self._is_pretty)


async def _convert(size_bytes: int, convert: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Convert at once, or in a thread what is large."""
    if size_bytes < _LARGE_BYTES:
        return convert(*args, **kwargs)
    return await asyncio.to_thread(convert, *args, **kwargs)


def _authorization(headers: Headers) -> str | None:
    values = headers.getlist("authorization")
    if len(values) > 1:
        raise InvalidArgumentError("header_repeated", "Send one Authorization header.")
    return values[0] if values else None


async def _read_body(request: Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_DEADLINE_S):
            return await request.body()
    except TimeoutError:
        raise BodyTooSlowError("body_too_slow", "The body took too long to arrive.") from None


def _check_media_type(headers: Headers) -> None:
    media_type, _, parameters = headers.get("content-type", "").lower().partition(";")
    is_utf8 = parameters.replace(" ", "").replace('"', "") in ("", "charset=utf-8")
    if media_type.strip() != "application/json" or not is_utf8 or "content-encoding" in headers:
        raise UnsupportedMediaTypeError(
            "content_type_unsupported", "Send the body as application/json, in UTF-8, not compressed."
        )
