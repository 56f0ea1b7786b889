"""Consumers that put what identifies them, and what isn't theirs, wherever a request has room for it."""

import asyncio
import base64
import contextlib
import random
from dataclasses import dataclass, field

from loadtests.proofs.hostile_merchants import Merchant
from loadtests.proofs.raw_http import MalformedError, Message, read_response
from loadtests.support.seeds import CREDENTIAL_HEADER, Grant

ANSWER_TIMEOUT_S = 5.0

# Headers by which a proxy would tell where a call comes from, and look-alikes of them.
_ADDRESS_FIELDS = (
    "X-Forwarded-For",
    "X_Forwarded_For",
    "X-Real-IP",
    "X_Real_IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Cluster-Client-IP",
    "X-Forwarded-Host",
    "X-Original-URL",
    "X-Rewrite-URL",
    "Proxy",
)
# RFC 6455 §1.3, and a frame of the client's with the text "hello", masked by zeros.
WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_FRAME = b"\x81\x85\0\0\0\0hello"
_TRACE = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Cookie:
    name: str
    value: str
    path: str


@dataclass(repr=False)
class Call:
    """One call, and what came of it."""

    client: "Client"
    merchant: Merchant
    number: str
    kind: str
    request: bytes
    half_closes: bool = False
    # None: nothing that is HTTP, or nothing at all.
    answer: Message | None = None
    received: bytes = b""
    malformed: str = ""

    @property
    def directory(self) -> bytes:
        """Of the request's path: where a cookie without a path belongs."""
        return self.request.split(b" ")[1].partition(b"?")[0].rpartition(b"/")[0] or b"/"


@dataclass(repr=False)
class Client:
    """`name` stands in all that it sends besides its key. It calls from `address`, one of this machine's."""

    name: str
    address: str
    grant: Grant
    chosen: random.Random
    slugs: dict[str, str]  # of the services, by merchant's name
    jar: list[Cookie] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.grant.secret

    @property
    def private(self) -> str:
        """What no merchant may get to see: in fields that end at the gateway."""
        return f"private-{self.name}"

    async def call(self, port: int, merchant: Merchant) -> None:
        call = self.next_call(merchant)
        self.calls.append(call)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(self.address, 0))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._exchange(call, reader, writer)
        except MalformedError as error:
            call.malformed = str(error)
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if call.answer is not None:
            self._keep_cookies(call)

    async def _exchange(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the connection ends: each request asks for that."""
        writer.write(call.request)
        if call.half_closes:
            writer.write_eof()
        while piece := await reader.read(65536):
            call.received += piece
        rest = call.received
        while rest:
            message = read_response(rest, at_end=True)
            if message is None:
                raise MalformedError("an answer was cut off")
            rest = rest[message.size :]
            if message.status == 101:
                # What follows are frames.
                call.answer, rest = message, b""
            elif message.status >= 200:
                if call.answer is not None:
                    raise MalformedError("a second answer")
                call.answer = message

    def next_call(self, merchant: Merchant) -> Call:
        number = f"call-{self.name}-{len(self.calls)}"
        slug = self.slugs[merchant.name]
        kind = self.chosen.choice(KINDS)
        path = f"/api/consume/{slug}/items/{self.chosen.randrange(9)}"
        fields = [("Host", "api.example"), ("X-Call", number), *self._jar_fields(path)]
        query, version, half_closes = "", "1.1", False
        key_field = ("Authorization", f"Bearer {self.key}")
        closing = "close"
        match kind:
            case "key in many places":
                token = base64.b64encode(f"{self.key}:".encode()).decode()
                key_field = ("X-API-Key", self.key)
                query = f"?api_key={self.key}&page=2"
                fields += [
                    (
                        "Authorization",
                        self.chosen.choice([f"Basic {token}", f"Token {self.key}", f"ApiKey {self.key}"]),
                    ),
                    ("X-Backup-Key", self.key),
                    ("Cookie", f"key={self.key}"),
                    ("X-Request-Id", self.chosen.choice([self.key, token, f"call/{self.key}"])),
                    ("Via", f"1.1 {self.key}"),
                    ("traceparent", f"{self.chosen.choice(['00', '01'])}-{_TRACE}-{self.key}"),
                    ("tracestate", f"own={self.key}"),
                ]
            case "forwarding fields":
                fields += [(name, self.address) for name in _ADDRESS_FIELDS]
                fields.append(("Forwarded", f"for={self.address};host={self.private}"))
                fields += [("Via", f"1.1 {self.private}"), ("tracestate", f"{self.private}=1")]
                fields += [("Baggage", f"user={self.private}"), ("Referer", f"https://{self.private}/")]
            case "gateway's own fields":
                fields += [
                    ("X-AMS-Consumer", self.private),
                    ("X-AMS-Signature", self.private),
                    (CREDENTIAL_HEADER, self.private),
                    ("Signature", f"sig=:{base64.b64encode(self.private.encode()).decode()}:"),
                    ("Signature-Input", f'sig=("@method");keyid="{self.private}"'),
                ]
            case "hop by hop":
                closing = "close, X-Hop"
                fields += [("X-Hop", self.private), ("Proxy-Authorization", f"Basic {self.private}")]
                fields += [("Keep-Alive", f"max={self.private}"), ("TE", "trailers")]
            case "web UI's session":
                fields.append(("Cookie", f"ams_session={self.private}; __Host-ams_session={self.private}"))
            case "h2c":
                closing = "close, Upgrade, HTTP2-Settings"
                fields += [("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA")]
            case "half-close":
                half_closes = True
            case "HTTP/1.0":
                version = "1.0"
            case "WebSocket":
                fields += [("Upgrade", "websocket"), ("Connection", "Upgrade, close"), key_field]
                fields += [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", WEBSOCKET_KEY)]
                fields += [("X-Forwarded-For", self.address), ("Via", f"1.1 {self.private}")]
                fields += [("X-Request-Id", self.key), ("Cookie", f"key={self.key}")]
                head = self._head("GET", path + f"?api_key={self.key}", "1.1", fields)
                return Call(self, merchant, number, kind, f"{head}\r\n".encode("latin-1") + _FRAME)
            case "preflight":
                asks = ("Access-Control-Request-Method", "POST")
                head = self._head("OPTIONS", path, "1.1", [*fields, ("Origin", "https://app.example"), asks])
                request = f"{head}Connection: close\r\n\r\n".encode("latin-1")
                return Call(self, merchant, number, kind, request)
            case "smuggle":
                inner = f"GET /smuggled-{self.name} HTTP/1.1\r\nHost: x\r\nX-Call: {number}\r\n\r\n"
                fields += [
                    ("Transfer-Encoding", self.chosen.choice(["chunked", "xchunked", "identity, chunked"]))
                ]
                head = self._head(
                    "POST", path + query, version, [*fields, key_field, ("Connection", "close")]
                )
                request = f"{head}Content-Length: 5\r\n\r\n0\r\n\r\n{inner}".encode("latin-1")
                return Call(self, merchant, number, kind, request)
        method, body = self.chosen.choice([("POST", f"body of {number}"), ("GET", ""), ("PUT", "x" * 3000)])
        if self.chosen.random() < 0.3:
            # The other form of a call, which has no path of its own.
            method, path = "POST", "/api/consume"
            fields.append(("X-AMS-Service", slug))
        self.chosen.shuffle(fields)
        head = self._head(method, path + query, version, [*fields, key_field, ("Connection", closing)])
        request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1")
        return Call(self, merchant, number, kind, request, half_closes)

    def _head(self, method: str, target: str, version: str, fields: list[tuple[str, str]]) -> str:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"{method} {target} HTTP/{version}\r\n{lines}"

    def _jar_fields(self, path: str) -> list[tuple[str, str]]:
        """As a browser would send them back (RFC 6265 §5.1.4)."""
        sent = [
            f"{each.name}={each.value}"
            for each in self.jar
            if path == each.path or path.startswith(each.path if each.path.endswith("/") else f"{each.path}/")
        ]
        return [("Cookie", "; ".join(sent))] if sent else []

    def _keep_cookies(self, call: Call) -> None:
        assert call.answer is not None
        for value in call.answer.values(b"set-cookie"):
            pair, *attributes = value.decode("latin-1").split(";")
            name, _, content = pair.strip().partition("=")
            path = call.directory.decode("latin-1")
            for attribute in attributes:
                key, _, told = attribute.strip().partition("=")
                if key.lower() == "path" and told.startswith("/"):
                    path = told
            self.jar = [each for each in self.jar if (each.name, each.path) != (name, path)]
            self.jar.append(Cookie(name, content, path))


KINDS = (
    "plain",
    "key in many places",
    "forwarding fields",
    "gateway's own fields",
    "hop by hop",
    "web UI's session",
    "h2c",
    "half-close",
    "HTTP/1.0",
    "preflight",
    "smuggle",
    "WebSocket",
)
