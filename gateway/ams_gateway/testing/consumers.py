"""A consumer's side made of raw bytes, so that it can be any client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ams_gateway.testing.running import GrantedKey, Running

# No answer under test takes so long, on a busy machine either.
WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = self.values(name)
        return values[0] if values else None

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name.lower()]


class Consumer:
    """One connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def answer(self, method: str = "POST") -> Answer:
        """The next final answer; interim ones are read over. `method`: of the request that it answers."""
        async with asyncio.timeout(WAIT_S):
            while True:
                status, headers = await self._head()
                if status >= 200:
                    break
            answer = Answer(status, headers, b"")
            return Answer(status, headers, await self._body(answer, method))

    async def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        return await asyncio.wait_for(self.reader.read(), WAIT_S)

    async def _head(self) -> tuple[int, list[tuple[str, str]]]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        fields = [line.partition(":") for line in lines]
        return int(first.split(" ")[1]), [(name.lower(), value.strip()) for name, _, value in fields]

    async def _body(self, answer: Answer, method: str) -> bytes:
        length = answer.header("content-length")
        if method == "HEAD" or answer.status in (204, 304):
            return b""
        if answer.header("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readline()
            return body
        return await (self.reader.read() if length is None else self.reader.readexactly(int(length)))


@asynccontextmanager
async def connect(gateway: Running) -> AsyncIterator[Consumer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1 << 20)
    try:
        yield Consumer(reader, writer)
    finally:
        writer.transport.abort()


def head(
    granted: GrantedKey, *lines: str, method: str = "POST", path: str = "", version: str = "1.1"
) -> bytes:
    """The head of a call of the transparent form; `lines` come after those that every call has."""
    fields = [
        f"{method} /api/consume/{granted.slug}{path} HTTP/{version}",
        "Host: gateway.example",
        f"X-API-Key: {granted.key.secret}",
        *lines,
    ]
    return ("\r\n".join(fields) + "\r\n\r\n").encode("latin-1")
