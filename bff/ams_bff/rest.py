"""The REST API as an ASGI app: every route of the contracts."""

import asyncio

from ams_common.errors import InvalidArgumentError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from ams_bff import transcode
from ams_bff.answers import json_answer
from ams_bff.backends import Backends
from ams_bff.refusals import BodyTooSlowError, UnsupportedMediaTypeError
from ams_bff.routes import RouteTable

_BODY_DEADLINE_S = 15.0


class RestApi:
    """Answers what the route table knows; everything else is refused with an AppError."""

    def __init__(self, routes: RouteTable, backends: Backends, is_pretty: bool) -> None:
        self._routes = routes
        self._backends = backends
        self._is_pretty = is_pretty

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AppError."""
        request = Request(scope, receive)
        match = self._routes.find(request.method, scope["raw_path"])
        authorization = _authorization(request.headers)
        body = await _read_body(request)
        if body:
            _check_media_type(request.headers)
        message = transcode.read_request(match, scope["query_string"], body)
        route = match.route
        reply = await self._backends.call(route.area, route.rpc, message, authorization)
        answer = json_answer(transcode.answer_document(reply), is_pretty=self._is_pretty)
        await answer(scope, receive, send)


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
