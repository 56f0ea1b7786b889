"""Merchants that log everything raw, and try to reach other parties through their answers."""

import asyncio
import base64
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from loadtests.proofs.raw_http import MalformedError, Message, read_request

# Fields by which an answer speaks for all that its host serves, which is AMS's, or that only AMS may say.
FOR_THE_HOST = (
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Alt-Svc",
    "Clear-Site-Data",
    "NEL",
    "Refresh",
    "Report-To",
    "Reporting-Endpoints",
    "Service-Worker-Allowed",
    "Strict-Transport-Security",
    "X-Accel-Redirect",
    "X-AMS-Cost-Estimate",
    "RateLimit",
)
# RFC 6455 §1.3
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


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
                    if request.value(b"upgrade") == b"websocket":
                        await self._talk(request, reader, writer, raw, len(raw) - parsed)
                        return
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

    async def _talk(
        self,
        request: Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        raw: bytearray,
        come_bytes: int,
    ) -> None:
        """A WebSocket: one frame of ours after the first of theirs, of which `come_bytes` have come."""
        accept = hashlib.sha1(request.value(b"sec-websocket-key") + _WEBSOCKET, usedforsecurity=False)
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade, X-Hop\r\nUpgrade: websocket\r\n"
            + f"Sec-WebSocket-Accept: {base64.b64encode(accept.digest()).decode()}\r\n".encode()
            + f"X-Call: {request.value(b'x-call').decode('latin-1')}\r\nX-Hop: hop-{self.name}\r\n".encode()
            + f"Set-Cookie: sid=cookie-{self.name}; Path=/\r\nAlt-Svc: host-{self.name}\r\n\r\n".encode()
        )
        if not come_bytes:
            raw += await reader.read(65536)
        text = f"from {self.name}".encode()
        writer.write(bytes((0x81, len(text))) + text)
        await writer.drain()

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
                self.speak_for_the_host,
                self.link,
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

    def speak_for_the_host(self, fields: str) -> bytes:
        return self._whole(fields + "".join(f"{name}: host-{self.name}\r\n" for name in FOR_THE_HOST))

    def link(self, fields: str) -> bytes:
        """To its own address, in one field and in several."""
        targets = [f"{self.base_url}/items/5", f"{self.base_path}/items/6", f"//{self.address}/elsewhere"]
        links = [f"<{target}>; rel=next" for target in targets]
        lines = [", ".join(links)] if self.chosen.random() < 0.5 else links
        return self._whole(fields + "".join(f"Link: {line}\r\n" for line in lines))

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
