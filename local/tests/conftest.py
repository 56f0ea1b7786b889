"""Fixtures of the local package: its web applications on real ports."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from ams_common import ports
from starlette.applications import Starlette

Serve = Callable[[Starlette], str]


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    port = ports.free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`url = serve(app)`: the application behind a real server, until the test's end."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(serving(app))
