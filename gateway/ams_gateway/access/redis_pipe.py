"""One connection to Redis that pipelines by itself: all commands of one turn of the event loop leave in
one write. Fifteen to twenty times cheaper than a client that takes a connection per command."""

import asyncio
import logging
import ssl
from collections import deque
from typing import Any
from urllib.parse import unquote, urlsplit

import hiredis

from ams_gateway.tasks import end_task

log = logging.getLogger(__name__)

_MAX_PENDING = 20_000
_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)


class RedisDownError(Exception):
    """Redis can't be reached just now. Raised at once, never after a wait."""


def pack(*parts: bytes | str) -> bytes:
    """A command in Redis' own encoding, made once where it is sent often."""
    packed: bytes = hiredis.pack_command(parts)  # type: ignore[arg-type]
    return packed


class RedisPipe:
    """Reconnects by itself while open. `preamble` is sent first on every new connection."""

    def __init__(self, url: str, *, preamble: tuple[bytes, ...] = (), timeout_s: float = 0.5) -> None:
        self._url = urlsplit(url)
        self._preamble = (*_greeting(url), *preamble)
        self._timeout_s = timeout_s
        self._protocol: _PipeProtocol | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        return self._protocol is not None and self._protocol.is_ready

    async def open(self) -> None:
        """Tries once to connect and goes on trying in the background."""
        first = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep(first))
        await first.wait()

    async def close(self) -> None:
        if self._keeper is not None:
            await end_task(self._keeper)
        if self._protocol is not None:
            self._protocol.abort()

    def execute(self, command: bytes) -> asyncio.Future[Any]:
        """Queue one packed command. The answer may be a hiredis.ReplyError value (not raised)."""
        protocol = self._protocol
        if protocol is None or not protocol.is_ready:
            raise RedisDownError
        return protocol.execute(command)

    async def _keep(self, first: asyncio.Event) -> None:
        attempt = 0
        while True:
            try:
                protocol = await asyncio.wait_for(self._connect(), 2.0)
            except (OSError, RedisDownError, TimeoutError) as error:
                if attempt == 0:
                    log.warning("redis is not reachable: %s", type(error).__name__)
                first.set()
                await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
                attempt += 1
                continue
            attempt = 0
            self._protocol = protocol
            first.set()
            await protocol.watch(self._timeout_s)
            self._protocol = None

    async def _connect(self) -> "_PipeProtocol":
        loop = asyncio.get_running_loop()
        tls = ssl.create_default_context() if self._url.scheme == "rediss" else None
        _, protocol = await loop.create_connection(
            lambda: _PipeProtocol(loop), self._url.hostname or "127.0.0.1", self._url.port or 6379, ssl=tls
        )
        try:
            for command in self._preamble:
                reply = await protocol.execute(command)
                if isinstance(reply, Exception):
                    raise RedisDownError(str(reply))
        except BaseException:
            protocol.abort()
            raise
        protocol.is_ready = True
        return protocol


def _greeting(url: str) -> tuple[bytes, ...]:
    parts = urlsplit(url)
    commands = []
    if parts.password:
        user = [unquote(parts.username)] if parts.username else []
        commands.append(pack("AUTH", *user, unquote(parts.password)))
    database = parts.path.strip("/")
    if database and database != "0":
        commands.append(pack("SELECT", database))
    return tuple(commands)


class _PipeProtocol(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_ready = False
        self._loop = loop
        self._reader = hiredis.Reader()
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._lost = loop.create_future()
        self._replies = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_ready = False
        self._transport = None
        self._out.clear()
        while self._pending:
            future = self._pending.popleft()
            if not future.done():
                future.set_exception(RedisDownError())
        if not self._lost.done():
            self._lost.set_result(None)

    def execute(self, command: bytes) -> asyncio.Future[Any]:
        if self._transport is None or len(self._pending) >= _MAX_PENDING:
            raise RedisDownError
        future = self._loop.create_future()
        self._pending.append(future)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command)
        return future

    def _flush(self) -> None:
        if self._transport is not None and self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            reply = reader.gets()
            while reply is not False:
                self._replies += 1
                future = self._pending.popleft()
                if not future.done():
                    future.set_result(reply)
                reply = reader.gets()
        except (hiredis.ProtocolError, IndexError):
            log.exception("redis sent what can't be understood")
            self.abort()

    async def watch(self, timeout_s: float) -> None:
        """Returns when the connection is lost; aborts it when nothing comes back for `timeout_s`."""
        while not self._lost.done():
            replies, waiting = self._replies, bool(self._pending)
            await asyncio.wait([self._lost], timeout=timeout_s)
            if waiting and self._replies == replies and not self._lost.done():
                log.warning("redis doesn't answer: the connection is dropped")
                self.abort()
                await self._lost

    def abort(self) -> None:
        self.is_ready = False
        if self._transport is not None:
            self._transport.abort()
