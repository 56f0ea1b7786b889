"""Layers on their way: what a slow or greedy peer can't hold for ever."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial

from ams_common.errors import AppError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from registry_svc.auth.errors import RegistryError
from registry_svc.oci.errors import OciError
from registry_svc.oci.requests import iter_with_idle_timeout

CHECK_EVERY_S = 5.0


class BrokenOffError(Exception):
    """An answer that has begun can't go on: its connection is closed, and the client sees that."""


class ConcurrencyLimit:
    """Counts how many layers each credential moves at the moment, in this process."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def slot(self, credential: str) -> Iterator[None]:
        """Held while a layer is moved. Raises OciError TOOMANYREQUESTS."""
        if self._under_way[credential] >= self._max_streams:
            raise OciError(
                "TOOMANYREQUESTS",
                f"More than {self._max_streams} layers at once. Try again shortly.",
                {"Retry-After": "5"},
            )
        self._under_way[credential] += 1
        try:
            yield
        finally:
            self._under_way[credential] -= 1
            # Else every credential that was ever used stays in memory.
            if not self._under_way[credential]:
                del self._under_way[credential]


class Reauthorizer:
    """Asks now and then whether who moves a layer still may."""

    def __init__(self, authorize: Callable[[], Awaitable[object]]) -> None:
        """`authorize` raises RegistryError when not."""
        self._authorize = authorize
        self._next_s = time.monotonic() + CHECK_EVERY_S

    async def check(self) -> None:
        """Asks if it is time to. Raises RegistryError."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + CHECK_EVERY_S
        try:
            await self._authorize()
        except AppError:
            return  # while nobody can be asked what has begun goes on


class UploadBody:
    """A request's body as it comes in. It ends early when the client goes away, sends nothing for too long,
    sends too much or may not push any more: `problem` then says so, where there is anybody to tell."""

    def __init__(
        self, request: Request, reauthorizer: Reauthorizer, *, max_bytes: int, idle_timeout_s: float
    ) -> None:
        self._request = request
        self._reauthorizer = reauthorizer
        self._left_bytes = max_bytes
        self._idle_timeout_s = idle_timeout_s
        self.is_too_large = False
        self.problem: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        # What breaks the body off isn't raised here, through the provider's request: that would be broken
        # off too, and what came before would be lost.
        try:
            async for chunk in iter_with_idle_timeout(self._request, self._idle_timeout_s):
                await self._reauthorizer.check()
                if len(chunk) > self._left_bytes:
                    self.is_too_large = True
                    return
                self._left_bytes -= len(chunk)
                yield chunk
        except (ClientDisconnect, OciError, RegistryError) as problem:
            self.problem = problem


class StreamedResponse(StreamingResponse):
    """A layer on its way out; lets go of the provider whatever becomes of the client."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        status: int,
        headers: dict[str, str],
        stack: AsyncExitStack,
        reauthorizer: Reauthorizer,
        *,
        idle_timeout_s: float,
    ) -> None:
        """`stack` is closed when the answer has ended."""
        super().__init__(_reauthorized(chunks, reauthorizer), status, headers)
        self._stack = stack
        self._idle_timeout_s = idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, partial(self._send, send))

    async def _send(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                await send(message)
        except TimeoutError:
            raise BrokenOffError("the client takes nothing") from None


async def _reauthorized(chunks: AsyncIterator[bytes], reauthorizer: Reauthorizer) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        try:
            await reauthorizer.check()
        except RegistryError as refused:
            raise BrokenOffError(refused.message) from None
        yield chunk
