"""Merchants that log everything raw, and try to reach other parties through their answers."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from loadtests.proofs.raw_http import MalformedError, Message, read_request


@dataclass(repr=False)
class Merchant:
    """`name` stands in all that it sends, so that whoever gets it can be told where it comes from."""

    name: str
    passes_cookies: bool
    chosen: random.Random
    port: int = 0
    # Everything that came in, one buffer per connection.
    received: list[bytearray] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)
    open: dict[asyncio.StreamWriter, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def base_path(self) -> str:
        """Unlike that of any other, and not to be seen by consumers."""
        return f"/base-{self.name}"

    @property
    def credential(self) -> str:
        """What AMS adds to each call, and nobody else may know."""
        return f"credential-{self.name}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"http://{self.address}{self.base_path}"

    @property
    def log(self) -> bytes:
        return b"\n".join(self.received)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self.open[writer] = task
        raw = bytearray()
        self.received.append(raw)
        parsed = 0
        try:
            while piece := await reader.read(65536):
                raw += piece
                while (request := read_request(bytes(raw[parsed:]))) is not None:
                    parsed += request.size
                    self.requests.append(request)
                    writer.write(self.answer(request))
                    await writer.drain()
                    if self.chosen.random() < 0.02:
                        return
        except MalformedError as error:
            self.malformed.append(str(error))
        except OSError:
            pass
        finally:
            self.open.pop(writer, None)
            writer.close()

    def answer(self, request: Message) -> bytes:
        """An answer with one trick in it. It names the call that it answers, as the merchant knows it."""
        call = request.value(b"x-call").decode("latin-1")
        trick = self.chosen.choice(
            [
                self.plain,
                self.cookies,
                self.redirect,
                self.poison,
                self.hop_by_hop,
                self.interim,
                self.trailer,
            ]
        )
        return trick(f"X-Call: {call}\r\nX-Merchant: {self.name}\r\n")

    def _whole(self, fields: str, status: str = "200 OK") -> bytes:
        body = f"from {self.name}"
        return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1")

    def plain(self, fields: str) -> bytes:
        return self._whole(fields)

    def cookies(self, fields: str) -> bytes:
        """For the whole site, for its domain, and one that looks like the web UI's session."""
        return self._whole(
            f"{fields}Set-Cookie: sid=cookie-{self.name}; Path=/; HttpOnly\r\n"
            f"Set-Cookie: wide=cookie-{self.name}; Domain=127.0.0.1; Path=/\r\n"
            f"Set-Cookie: bare=cookie-{self.name}\r\n"
            f"Set-Cookie: up=cookie-{self.name}; path=/api/consume/; SameSite=None; Secure\r\n"
            f"Set-Cookie: ams_session=cookie-{self.name}; Path=/\r\n"
        )

    def redirect(self, fields: str) -> bytes:
        """To its own address, in each form that a client would follow."""
        where = self.chosen.choice(
            [
                f"{self.base_url}/items/1",
                self.base_url,
                f"//{self.address}{self.base_path}/items/2",
                f"{self.base_path}/items/3",
                f"HTTP://{self.address}{self.base_path}/items/4",
                f"http://{self.address}/elsewhere",
            ]
        )
        name = self.chosen.choice(["Location", "Content-Location"])
        return self._whole(
            f"{fields}{name}: {where}\r\n", self.chosen.choice(["307 Temporary Redirect", "201 Created"])
        )

    def poison(self, fields: str) -> bytes:
        """A second answer behind the first, for whoever comes next on this connection."""
        return self._whole(fields) + self._whole(f"X-Poison: poison-{self.name}\r\n")

    def hop_by_hop(self, fields: str) -> bytes:
        return self._whole(
            f"{fields}Connection: X-Hop, keep-alive\r\nX-Hop: hop-{self.name}\r\n"
            f"Proxy-Authenticate: Basic realm=hop-{self.name}\r\nKeep-Alive: max=hop-{self.name}\r\n"
        )

    def interim(self, fields: str) -> bytes:
        return b"HTTP/1.1 103 Early Hints\r\nX-Early: %b\r\n\r\n" % self.name.encode() + self._whole(fields)

    def trailer(self, fields: str) -> bytes:
        """A trailer that would take the place of a field that has been checked."""
        text = f"HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n5\r\nfrom \r\n0\r\n"
        return f"{text}Location: {self.base_url}/late\r\n\r\n".encode("latin-1")


@contextlib.asynccontextmanager
async def open_for_business(merchant: Merchant) -> AsyncIterator[Merchant]:
    server = await asyncio.start_server(merchant.converse, "127.0.0.1", 0)
    merchant.port = server.sockets[0].getsockname()[1]
    try:
        yield merchant
    finally:
        server.close()
        held = dict(merchant.open)
        for writer in held:
            # Its conversation then reads the end of the connection, and ends by itself.
            writer.close()
        await asyncio.gather(*held.values())
