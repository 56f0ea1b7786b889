"""The REST API as an ASGI app: every route of the contracts."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ams_common.context import current_client_address
from ams_common.errors import UnauthenticatedError
from google.protobuf.message import Message
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ams_rest import transcode
from ams_rest.answers import json_answer
from ams_rest.backends import Backends
from ams_rest.call_limits import CallLimits
from ams_rest.conditions import apply_headers, single
from ams_rest.creations import creations_of
from ams_rest.etags import etag_of, is_unchanged
from ams_rest.field_paths import ETAG, has_field
from ams_rest.http_errors import BodyTooSlowError, UnsupportedMediaTypeError
from ams_rest.routes import Match, Route, RouteTable
from ams_rest.token_trading import TokenTrader

P = ParamSpec("P")
T = TypeVar("T")

_BODY_DEADLINE_S = 15.0
# Converting takes about 0.4 µs a byte, so what is larger would keep other requests waiting.
_LARGE_BYTES = 32 * 1024


class RestApi:
    """Answers what the route table knows; everything else is refused with an AppError."""

    def __init__(
        self, routes: RouteTable, backends: Backends, limits: CallLimits, is_pretty: bool = False
    ) -> None:
        self._routes = routes
        self._creations = creations_of(routes.routes)
        self._backends = backends
        self._limits = limits
        self._trader = TokenTrader(backends)
        self._is_pretty = is_pretty

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AppError."""
        request = Request(scope, receive)
        match = self._routes.find(request.method, scope["raw_path"])
        authorization = single(request.headers, "authorization")
        allowance = await self._limits.take(authorization, current_client_address())
        body = await _read_body(request)
        if body:
            _check_media_type(request.headers)
        message = await _convert(len(body), transcode.read_request, match, scope["query_string"], body)
        apply_headers(message, request.headers)
        reply = await self._call(match.route, message, authorization)
        answer = await _convert(reply.ByteSize(), self._answer, match, reply, request.headers)
        if allowance is not None:
            answer.headers.update(allowance.headers)
        await answer(scope, receive, send)

    def _answer(self, match: Match, reply: Message, headers: Headers) -> Response:
        document = transcode.answer_document(reply)
        creation = self._creations.get(match.route.rpc.full_name)
        answer = json_answer(document, status=201 if creation else 200, is_pretty=self._is_pretty)
        if creation is not None and (location := creation.location(match, document)) is not None:
            answer.headers["location"] = location
        is_read = match.route.http_method == "GET"
        if is_read or has_field(reply.DESCRIPTOR, ETAG):
            answer.headers["etag"] = etag = etag_of(bytes(answer.body), document)
            if is_read and is_unchanged(headers.get("if-none-match", ""), etag):
                return Response(status_code=304, headers={"etag": etag})
        return answer

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


async def _convert(size_bytes: int, convert: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Convert at once, or in a thread what is large."""
    if size_bytes < _LARGE_BYTES:
        return convert(*args, **kwargs)
    return await asyncio.to_thread(convert, *args, **kwargs)


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
