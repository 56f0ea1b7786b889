"""The consume protocol: consume requests straight from uvicorn's HTTP protocol to the core, without ASGI.

It stands on insides of uvicorn. `GATEWAY_CONSUME_PROTOCOL=false` switches it off. Then, and always for paths
that aren't the gateway's, the same connections are served through the ASGI entry.
"""

import asyncio
import logging
from typing import Any

from ams_gateway.gateway import Gateway
from ams_gateway.http import problems
from ams_gateway.http.headers import RequestHeaders, parse_headers
from ams_gateway.http.problems import Header, Problem
from ams_gateway.server.consume_cycle import ConsumeCycle, wake
from ams_gateway.server.protocol import GatewayProtocol
from ams_gateway.server.routes import is_ours, read_request

log = logging.getLogger(__name__)


class ConsumeProtocol(GatewayProtocol):
    """For uvicorn's `http=`. One task serves a connection's requests one after the other: a task for each
    would cost more than deciding it."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gateway: Gateway = app_state["gateway"]
        self._max_header_bytes: int = app_state["max_header_bytes"]
        # Most consumers send the same head with every request of a connection: it is read once.
        self._parsed_from: list[Header] = []
        self._parsed: RequestHeaders | Problem | None = None
        # Ours or uvicorn's own, whichever the last request is.
        self.cycle: Any = None
        self._worker: asyncio.Task[None] | None = None
        self._serving: ConsumeCycle | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._serving is not None and not self._serving.response_complete:
            # uvicorn tells `self.cycle`, the last request that came. With pipelining an earlier one is being
            # served, and would go on draining its upstream for nobody.
            self._serving.disconnected = True
            self._serving.set()
        super().connection_lost(exc)
        wake(self._waiter)

    # The parser's side

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        path, _, query = self.url.partition(b"?")
        if is_ours(path) and self.url.isascii() and b"#" not in self.url:
            self._begin_body()
            self._begin_consume(path, query)
        else:
            self._begin_cycle()

    def _begin_cycle(self) -> None:
        """uvicorn makes its cycle when a message begins; here that waits until the path is known."""
        url, headers, expects_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects_continue
        self.headers += headers
        super().on_headers_complete()

    def _begin_consume(self, path: bytes, query: bytes) -> None:
        parser = self.parser
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        before = self.cycle
        cycle = ConsumeCycle(
            read_request(method, version, path, query, self._parse()),
            self.transport,
            self.flow,
            self.on_response_complete,
            is_head=method == "HEAD",
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        self.cycle = cycle
        if before is None or before.response_complete:
            self._serve(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]

    def _parse(self) -> RequestHeaders | Problem:
        parsed = self._parsed
        if parsed is None or self.headers != self._parsed_from:
            parsed = self._parsed = parse_headers(self.headers, self._max_header_bytes)
            self._parsed_from = self.headers
        return parsed

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_body:
            return  # A trailer.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, ConsumeCycle):
            self.cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if isinstance(self.cycle, ConsumeCycle):
            self._is_in_body = False
            self._head_bytes = 0
            self.cycle.end()
        else:
            super().on_message_complete()

    # Serving

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, ConsumeCycle):
            self._serve(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _serve(self, cycle: ConsumeCycle) -> None:
        self._serving = cycle
        if self._worker is None:
            self._worker = self.loop.create_task(self._serve_cycles())
            # A graceful stop waits for these.
            self.tasks.add(self._worker)
            self._worker.add_done_callback(self.tasks.discard)
        else:
            wake(self._waiter)

    async def _serve_cycles(self) -> None:
        while not self.transport.is_closing():
            cycle = self._serving
            if cycle is None or cycle.response_complete:
                self._waiter = self.loop.create_future()
                await self._waiter
            else:
                await self._answer(cycle)

    async def _answer(self, cycle: ConsumeCycle) -> None:
        gateway = self._gateway
        try:
            if isinstance(cycle.request, Problem):
                await gateway.send_problem(cycle.request, gateway.new_request_id(), cycle)
            else:
                await gateway.serve(cycle.request, cycle)
        except Exception:
            log.exception("a consume request failed")
            if not cycle.is_started:
                await gateway.send_problem(problems.INTERNAL, gateway.new_request_id(), cycle)
        finally:
            if not cycle.response_complete:
                # What was begun can't be finished: that is how HTTP/1.1 says that it was cut off.
                self.transport.close()
