"""What no request can bring about: the parts are called directly."""

import asyncio
import json
import logging
from typing import Any

import pytest
from ams_bff import middleware
from ams_common.errors import AppError, UnavailableError
from ams_common.redis_client import connect
from ams_rest.api import RestApi
from ams_rest.areas import AREAS
from ams_rest.backends import Backends
from ams_rest.call_limits import CallLimits
from ams_rest.deadlines import Deadlines
from ams_rest.routes import RouteTable, routes_of
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANSWER_START = {"type": "http.response.start", "status": 200, "headers": []}


async def call(app: ASGIApp, receive: Receive, method: str = "GET", path: bytes = b"/") -> list[Message]:
    """What the whole chain around `app` sends."""
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": path.decode(),
        "raw_path": path,
        "query_string": b"",
        "headers": [(b"x-request-id", b"fault-1")],
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await middleware.wrap(app, False, 0, str, tell_no_page)(scope, receive, send)
    return sent


async def tell_no_page(scope: Scope, receive: Receive, error: AppError) -> None:
    """Nobody here reads pages."""


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("not reached")


async def test_an_unexpected_error_is_a_bare_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("hush: the database's password")

    with caplog.at_level(logging.ERROR):
        start, body = await call(broken, nothing)
    problem: Any = json.loads(body["body"])
    assert start["status"] == problem["status"] == 500
    assert (problem["code"], problem["request_id"]) == ("internal", "fault-1")
    assert b"hush" not in body["body"]
    assert "hush" in caplog.text


async def test_an_answer_that_breaks_half_way_is_cut_off_not_completed() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send(dict(ANSWER_START))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await call(broken, nothing)


async def test_a_download_that_a_service_breaks_off_is_cut_too() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send(dict(ANSWER_START))
        raise UnavailableError("service_unavailable", "Gone.")

    with pytest.raises(UnavailableError):
        await call(broken, nothing)


async def test_a_body_that_does_not_come_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ams_rest.api._BODY_DEADLINE_S", 0.01)
    backends = Backends({}, Deadlines(1.0, 10.0))
    api = RestApi(RouteTable(routes_of(AREAS)), backends, CallLimits(connect("redis://127.0.0.1:1/0"), 10))
    start, body = await call(api, never, "POST", b"/api/v1/services")
    assert (start["status"], json.loads(body["body"])["code"]) == (408, "body_too_slow")
