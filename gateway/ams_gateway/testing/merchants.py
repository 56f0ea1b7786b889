"""A merchant's API made of raw bytes, so that it can break every rule."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from ams_gateway.testing.narrow import narrow_listener

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Answerer = Callable[["RecordedRequest", Reader, Writer], Awaitable[None]]


@dataclass
class RecordedRequest:
    """A request as it arrived at the merchant's."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        values = [value for each, value in self.headers if each == name]
        return values[0] if values else None


@dataclass
class Merchant:
    port: int
    answer: Answerer
    requests: list[RecordedRequest] = field(default_factory=list)
    connections: int = 0
    # Set when a connection ended while its request was being answered.
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


async def echo(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
    """Answers 200 with the body of the request."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.body), request.body))


def respond_with(*parts: bytes, then_close: bool = False) -> Answerer:
    """Answers with these bytes, as they are."""

    async def answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if then_close:
            writer.close()

    return answer


async def never_answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
    """No answer, until the other side hangs up."""
    await reader.read()


@contextlib.asynccontextmanager
async def serve_merchant(
    answer: Answerer = echo, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Merchant]:
    merchant = Merchant(0, answer)
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        merchant.connections += 1
        try:
            while not writer.is_closing() and (request := await read_request(reader)) is not None:
                merchant.requests.append(request)
                await merchant.answer(request, reader, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            merchant.hung_up.set()
        else:
            if reader.at_eof():
                merchant.hung_up.set()
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(converse, sock=narrow_listener(), ssl=tls, limit=1 << 20)
    merchant.port = server.sockets[0].getsockname()[1]
    try:
        yield merchant
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> RecordedRequest | None:
    """None at the end of the connection."""
    first = await reader.readline()
    if not first:
        return None
    method, target, _ = first.decode("latin-1").split(" ")
    headers = []
    while (line := (await reader.readline()).decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip()))
    request = RecordedRequest(method, target, headers)
    if request.header("transfer-encoding") is not None:
        request.body = await _read_chunks(reader)
    elif (length := request.header("content-length")) is not None:
        request.body = await reader.readexactly(int(length))
    return request


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readline()).strip():
        pass
    return body
