"""A merchant's API that takes only what every reader would read the same way, and says what it got."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from loadtests.proofs.raw_http import MalformedError, read_request


@dataclass(repr=False)
class StrictUpstream:
    """Answers every request with its own number, and with the case that the request names."""

    port: int = 0
    malformed: list[str] = field(default_factory=list)
    cases: dict[int, str] = field(default_factory=dict)  # by the number of the request
    numbers: dict[str, list[int]] = field(default_factory=dict)  # by case
    open: dict[asyncio.StreamWriter, asyncio.Task[None]] = field(default_factory=dict)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self.open[writer] = task
        rest = b""
        try:
            while piece := await reader.read(65536):
                rest += piece
                while (request := read_request(rest)) is not None:
                    rest = rest[request.size :]
                    number = len(self.cases) + 1
                    case = request.value(b"x-case")
                    self.cases[number] = case.decode("latin-1")
                    self.numbers.setdefault(self.cases[number], []).append(number)
                    if b"smuggled" in request.target:
                        self.malformed.append(f"a smuggled request: {request.start_line!r}")
                    body = b"%d" % number
                    fields = b"X-Number: %d\r\nX-Case: %b\r\nContent-Length: %d\r\n" % (
                        number,
                        case,
                        len(body),
                    )
                    writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (fields, body))
                    await writer.drain()
        except MalformedError as error:
            self.malformed.append(f"{error} in {rest[:300]!r}")
        except OSError:
            pass
        finally:
            self.open.pop(writer, None)
            writer.close()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its base URL."""
        server = await asyncio.start_server(self.converse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{self.port}/base"
        finally:
            server.close()
            held = dict(self.open)
            for writer in held:
                writer.close()
            await asyncio.gather(*held.values())
