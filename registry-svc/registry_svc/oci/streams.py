"""Bytes on their way: what a slow or greedy peer can't hold for ever."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial

from ams_common.errors import AppError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from registry_svc.oci.errors import OciError

CHECK_EVERY_S = 5.0
# One part of a layer. Of several, which nobody needs, the answer would be of another form.
_ONE_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")

Check = Callable[[], Awaitable[object]]


class BrokenOffError(Exception):
    """An answer that has begun can't go on: its connection is closed, and the client sees that."""


class Streams:
    """How many layers each credential moves at the moment, in this process."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def place(self, credential: str) -> Iterator[None]:
        """Raises OciError TOOMANYREQUESTS."""
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
            if not self._under_way[credential]:
                del self._under_way[credential]


class Watch:
    """Asks now and then whether who moves a layer still may."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._next_s = time.monotonic() + CHECK_EVERY_S

    async def look(self) -> None:
        """Raises OciError. While nobody can be asked what has begun goes on."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + CHECK_EVERY_S
        try:
            await self._check()
        except AppError:
            return


class Body:
    """A request's body as it comes in, counted. It ends early when the client goes away, is silent for too
    long, sends too much or isn't let in any more: `refusal` then says so, where there is anybody to tell."""

    def __init__(self, request: Request, watch: Watch, *, max_bytes: int, silence_s: float) -> None:
        self._request = request
        self._watch = watch
        self._max_bytes = max_bytes
        self._silence_s = silence_s
        self.size_bytes = 0
        self.is_too_large = False
        self.refusal: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in spoken(self._request, self._silence_s):
                await self._watch.look()
                if self.size_bytes + len(chunk) > self._max_bytes:
                    self.is_too_large = True
                    return
                self.size_bytes += len(chunk)
                yield chunk
        except (ClientDisconnect, OciError) as refusal:
            self.refusal = refusal


async def spoken(request: Request, silence_s: float) -> AsyncIterator[bytes]:
    """The request's body. Raises ClientDisconnect, and OciError when nothing came for too long."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(silence_s):
                chunk = await anext(stream, None)
        except TimeoutError:
            message = f"Nothing came for {silence_s:g} seconds. What came before is kept: go on from there."
            raise OciError("BLOB_UPLOAD_INVALID", message, {"Connection": "close"}, status=408) from None
        if chunk is None:
            return
        if chunk:
            yield chunk


async def read_bounded(request: Request, max_bytes: int, timeout_s: float = 60.0) -> bytes:
    """The whole body, for what is small. Raises OciError when it isn't, or comes too slowly."""
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    message = f"This may have at most {max_bytes} bytes."
                    raise OciError("SIZE_INVALID", message, {"Connection": "close"})
    except TimeoutError:
        message = f"Not all of it came within {timeout_s:g} seconds."
        raise OciError("UNKNOWN", message, {"Connection": "close"}, status=408) from None
    return bytes(body)


class StreamedResponse(StreamingResponse):
    """A layer on its way; lets go of the provider whatever becomes of the client."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        status: int,
        headers: dict[str, str],
        stack: AsyncExitStack,
        watch: Watch,
        *,
        silence_s: float,
    ) -> None:
        super().__init__(_watched(chunks, watch), status, headers)
        self._stack = stack
        self._silence_s = silence_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, partial(self._send, send))

    async def _send(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._silence_s):
                await send(message)
        except TimeoutError:
            raise BrokenOffError("the client takes nothing") from None


async def _watched(chunks: AsyncIterator[bytes], watch: Watch) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        try:
            await watch.look()
        except OciError as refusal:
            raise BrokenOffError(refusal.message) from None
        yield chunk


def one_range(header: str) -> str:
    """The Range header when it asks for one part; "", which is the whole, when it is anything else."""
    return header if _ONE_RANGE.fullmatch(header) else ""
