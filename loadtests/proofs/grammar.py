"""Requests for the fuzzer: drawn from a grammar of heads and bodies, then damaged in lines and bytes.

Pure: the same random source draws the same bytes. Every request names its case in X-Case, so that what
reaches the upstream, and what comes back, can be told apart from any other case's.
"""

import random
from dataclasses import dataclass

from loadtests.proofs.raw_http import Field

# What gateways and upstreams have been seen to read in two ways.
_CODINGS = [
    "chunked",
    "Chunked",
    "chunked, chunked",
    "identity",
    "gzip, chunked",
    " chunked",
    "chunked ",
    "x",
    "",
]
_LENGTHS = ["0", "5", "+5", "-1", "05", "5, 5", "0x5", "5 ", "99999999999999999999", "", "five", "5\t"]
_VERSIONS = ["HTTP/1.1"] * 12 + [
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/1.10",
    "http/1.1",
    "HTTP/1.1 x",
    "",
]
_METHODS = ["POST", "GET", "PUT", "DELETE", "PATCH"]
_ODD_METHODS = ["post", "OPTIONS", "TRACE", "CONNECT", "M-SEARCH", "G T", ""]
_EXTRA: list[Field] = [
    (b"Connection", b"keep-alive"),
    (b"Connection", b"close, X-Case"),
    (b"Connection", b"upgrade"),
    (b"Upgrade", b"h2c"),
    (b"Upgrade", b"websocket"),
    (b"Expect", b"100-continue"),
    (b"Expect", b"nothing"),
    (b"TE", b"trailers"),
    (b"Trailer", b"X-Late"),
    (b"Host", b"other.example"),
    (b"X_Forwarded_For", b"10.0.0.1"),
    (b"X-Forwarded-For", b"10.0.0.1"),
    (b"Via", b"1.1 ams-gateway"),
    (b"Cookie", b"a=b; c=d"),
    (b"Traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
    (b"X-Request-Id", b"an id with spaces"),
    (b"Content-Type", b"multipart/form-data; boundary=\xff\xfe"),
    (b"Accept-Encoding", b"gzip;q=0"),
    (b"X-Empty", b""),
    (b"X-Long", b"y" * 9000),
]
_PATHS = ["", "/", "/a", "/a//b", "/a/../b", "/a?q=1&q=2", "/a;p=1", "/a%2fb", "/" + "l" * 3000]
_ODD_PATHS = [
    "/../up", "/%2e%2e/up", "/a#fragment", "/%00", "/%zz", "/\\..\\up", "/\xe9", "?q", "/a b", "/.;/x",
    "//host.example/x",
]  # fmt: skip
_ODD_TARGETS = ["/api%2Fconsume", "/api/consume/", "*", "//api/consume", "http://x/api/consume"]
# How often each part of a request is an odd one: more, and hardly any request would be forwarded.
_ODDNESS = 0.06


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    # Pieces that are sent apart, so that every boundary falls inside some read.
    cuts: tuple[int, ...]


def draw_case(chosen: random.Random, name: str, key: str, slug: str) -> Case:
    """One to three requests on one connection; most cases are damaged somewhere."""
    data = b"".join(_draw_request(chosen, name, key, slug) for _ in range(chosen.choice([1, 1, 1, 2, 3])))
    for _ in range(chosen.choice([0, 0, 0, 1, 1, 2])):
        data = _damage(chosen, data)
    cuts = sorted(chosen.randrange(len(data) + 1) for _ in range(chosen.choice([0, 0, 1, 3])))
    return Case(name, data, tuple(cuts))


def _draw_request(chosen: random.Random, name: str, key: str, slug: str) -> bytes:
    def is_odd() -> bool:
        return chosen.random() < _ODDNESS

    path = f"/api/consume/{slug}{chosen.choice(_ODD_PATHS if is_odd() else _PATHS)}"
    fields: list[Field] = [(b"Host", b"api.example"), (b"X-Case", name.encode())]
    method = chosen.choice(_ODD_METHODS if is_odd() else _METHODS)
    if chosen.random() < 0.4:
        method = "POST" if not is_odd() else method
        path = chosen.choice(_ODD_TARGETS if is_odd() else ["/api/consume", "/api/consume?x=1"])
        named = chosen.choice(["", "no-such-service"] if is_odd() else [slug, slug.upper()])
        fields.append((b"X-AMS-Service", named.encode()))
    token = (key[:-1] if is_odd() else key).encode()
    if not is_odd():
        forms = [(b"Authorization", b"Bearer "), (b"X-API-Key", b""), (b"authorization", b"bearer  ")]
        field, scheme = chosen.choice(forms)
        fields.append((field, scheme + token))
    fields += chosen.sample(_EXTRA, chosen.choice([1, 2, 4]) if chosen.random() < 0.3 else 0)
    body = chosen.randbytes(chosen.choice([0, 5, 5, 200, 70_000]))
    if chosen.random() < 0.1:
        # What a smuggler hopes that the next reader takes for a request.
        body = f"GET /smuggled HTTP/1.1\r\nHost: x\r\nX-Case: {name}\r\n\r\n".encode()
    framing, content = _frame(chosen, body)
    fields += framing
    chosen.shuffle(fields)
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    start = f"{method} {path} {chosen.choice(_VERSIONS) if is_odd() else 'HTTP/1.1'}\r\n"
    return start.encode("latin-1") + lines + b"\r\n" + content


def _frame(chosen: random.Random, body: bytes) -> tuple[list[Field], bytes]:
    length = (b"Content-Length", str(len(body)).encode())
    match chosen.randrange(30):
        case 0:
            return [(b"Transfer-Encoding", chosen.choice(_CODINGS).encode())], _chunked(chosen, body)
        case 1:
            return [length, (b"Transfer-Encoding", b"chunked")], _chunked(chosen, body)
        case 2:
            return [(b"Content-Length", chosen.choice(_LENGTHS).encode())], body
        case 3:
            return [length, (b"Content-Length", chosen.choice(_LENGTHS).encode())], body
        case 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11:
            return [(b"Transfer-Encoding", b"chunked")], _chunked(chosen, body)
    return [length], body


def _chunked(chosen: random.Random, body: bytes) -> bytes:
    parts = []
    while body:
        size = chosen.randint(1, len(body))
        extension = chosen.choice(["", "", "", ";a=b", ';a="\r\n"', " ", ";" + "e" * 500])
        parts.append(f"{size:{chosen.choice('xX')}}{extension}\r\n".encode() + body[:size] + b"\r\n")
        body = body[size:]
    trailer = chosen.choice(
        [b"", b"", b"X-Late: 1\r\n", b"Content-Length: 9\r\n", b"Authorization: Bearer x\r\n"]
    )
    return b"".join(parts) + chosen.choice([b"0", b"0", b"00", b"0;x"]) + b"\r\n" + trailer + b"\r\n"


def _damage(chosen: random.Random, data: bytes) -> bytes:
    """One change, somewhere: of a byte, of a line, or of the end."""
    at = chosen.randrange(max(1, min(len(data), 2000)))
    match chosen.randrange(8):
        case 0:
            return data[:at] + chosen.randbytes(1) + data[at + 1 :]
        case 1:
            odd = chosen.choice(
                [b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x80", b"\r\n", b"\r\n\r\n", b"\x0b"]
            )
            return data[:at] + odd + data[at:]
        case 2:
            return data[:at] + data[at + chosen.randint(1, 8) :]
        case 3:
            return data[: max(1, at)]
        case 4:
            return data.replace(b"\r\n", b"\n", chosen.randint(1, 4))
        case 5:
            # A field that is folded, or has a space before its colon.
            return data.replace(b": ", chosen.choice([b" : ", b":\r\n ", b":\t", b":"]), 1)
        case 6:
            lines = data.split(b"\r\n")
            one = chosen.randrange(len(lines))
            return b"\r\n".join([*lines[:one], lines[one], *lines[one:]])
        case _:
            return data + chosen.randbytes(chosen.randint(1, 40))
