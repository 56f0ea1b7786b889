"""Clients' connections: none may stay without progress, and no address may have too many.

uvicorn bounds only how long a connection is idle between two requests. Whoever sends a head or a body drop by
drop, or opens connections and says nothing, would hold them for ever.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
from ams_common.clients import client_network
from uvicorn.protocols.http.h11_impl import H11Protocol

_SWEEP_S = 1.0
_LAST = b"content-length: 0\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n" + _LAST
_TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 10\r\n" + _LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """In seconds: from a connection's beginning, or a head's first byte, to the head's last; between two
    pieces of a body, and for all of it; while nothing of an answer is taken; between two requests.

    `most_of_address`: of one client's network; 0 for no bound, where everybody comes through a proxy.
    """

    head_s: float = 10.0
    body_s: float = 15.0
    whole_body_s: float = 60.0
    write_s: float = 60.0
    idle_s: float = 75.0
    most_of_address: int = 256

    @property
    def sweep_s(self) -> float:
        """How exactly they are kept: a timer for each connection's each step would be too dear."""
        return min(_SWEEP_S, min(self.head_s, self.body_s, self.write_s, self.idle_s) / 2)


class Connections:
    """Those of this process."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: set[GuardedProtocol] = set()
        self._by_network: Counter[str] = Counter()

    @property
    def protocol(self) -> Any:
        """For uvicorn's `http=`."""
        return partial(GuardedProtocol, self)

    async def sweep(self) -> None:
        """For ever: ends those that have stayed without progress."""
        while True:
            await asyncio.sleep(self.limits.sweep_s)
            now_s = asyncio.get_running_loop().time()
            for connection in list(self._open):
                connection.check(now_s)

    def admit(self, connection: "GuardedProtocol", network: str) -> bool:
        """Whether there is room for one more of the network; it counts from now on."""
        most = self.limits.most_of_address
        if most and self._by_network[network] >= most:
            return False
        self._by_network[network] += 1
        self._open.add(connection)
        return True

    def remove(self, connection: "GuardedProtocol", network: str) -> None:
        if connection in self._open:
            self._open.discard(connection)
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]


class GuardedProtocol(H11Protocol):
    """uvicorn's own, which knows since when it waits for what."""

    def __init__(self, guard: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # uvicorn's own timer would close an idle connection after five seconds.
        self.timeout_keep_alive = guard.limits.idle_s  # type: ignore[assignment]
        self._guard = guard
        self._now_s = asyncio.get_running_loop().time
        self._network = ""
        # When the head that is coming began, the body, and the last piece of either came.
        self._head_since_s: float | None = self._now_s()
        self._body_since_s: float | None = None
        self._read_at_s = self._now_s()
        self._unsent_bytes = 0
        self._sent_at_s = self._now_s()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("peername")
        self._network = client_network(str(peer[0])) if peer else ""
        super().connection_made(transport)
        if not self._guard.admit(self, self._network):
            transport.write(_TOO_MANY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.remove(self, self._network)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._read_at_s = self._now_s()
        if self.transport.is_closing():
            return  # what an answer was given for that isn't the application's
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        """Notes where the request stands that comes in now."""
        state, now_s = self.conn.their_state, self._now_s()
        is_in_head = state is h11.IDLE and bool(self.conn.trailing_data[0])
        is_in_body = state is h11.SEND_BODY
        self._head_since_s = (self._head_since_s or now_s) if is_in_head else None
        self._body_since_s = (self._body_since_s or now_s) if is_in_body else None

    def check(self, now_s: float) -> None:
        """Ends the connection if it has stayed without progress for too long."""
        limits, transport = self._guard.limits, self.transport
        unsent_bytes = transport.get_write_buffer_size()
        if not unsent_bytes or unsent_bytes != self._unsent_bytes:
            self._sent_at_s = now_s
        self._unsent_bytes = unsent_bytes
        if unsent_bytes:
            if now_s - self._sent_at_s > limits.write_s:
                transport.abort()
        elif transport.is_closing():
            return
        elif self._head_since_s is not None:
            if now_s - self._head_since_s > limits.head_s:
                transport.write(_TOO_SLOW)
                transport.close()
        elif self._body_since_s is not None:
            is_stalled = not self.flow.read_paused and now_s - self._read_at_s > limits.body_s
            if is_stalled or now_s - self._body_since_s > limits.whole_body_s:
                transport.close()
        elif self.conn.their_state is h11.IDLE and now_s - self._read_at_s > limits.idle_s:
            transport.close()
