"""uvicorn's HTTP protocol with a bound on what isn't body.

The parser gathers a header of any size before it tells of it, so the bytes are counted as they come in.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Request line, headers, chunk framing and trailers of one request, beyond its first packet.
MAX_OVERHEAD_BYTES = 64 * 1024

# No page of the web UI can be made before there is a request; people read this, clients the status.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} - AMS</title></head>
<body><main><h1>{title}</h1><p>{text} <a href="/">Start again</a>; if this page comes back, remove the
cookies of this site.</p></main></body></html>
"""
_HEAD = """HTTP/1.1 {status}\r
content-type: text/html; charset=utf-8\r
content-length: {size_bytes}\r
content-security-policy: default-src 'none'; frame-ancestors 'none'\r
x-content-type-options: nosniff\r
cache-control: no-store\r
connection: close\r
\r
"""


def _answer(status: str, title: str, text: str) -> bytes:
    page = _PAGE.format(title=title, text=text)
    return (_HEAD.format(status=status, size_bytes=len(page)) + page).encode("ascii")


_UNREADABLE = _answer(
    "400 Bad Request", "That request can't be read", "The address may be too long, or damaged on its way."
)
_TOO_LARGE = _answer(
    "431 Request Header Fields Too Large",
    "Too much in one request",
    "The address or the cookies that your browser sent are too long.",
)


class BoundedProtocol(HttpToolsProtocol):
    """Closes the connection of a client that sends more than MAX_OVERHEAD_BYTES around its body."""

    _overhead_bytes = 0

    def on_message_begin(self) -> None:
        """A new request is counted anew."""
        self._overhead_bytes = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """The body has a bound of its own."""
        self._overhead_bytes -= len(body)
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """Parse, then judge."""
        self._overhead_bytes += len(data)
        super().data_received(data)
        if self._overhead_bytes > MAX_OVERHEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        """For what the parser can't read."""
        self.transport.write(_UNREADABLE)
        self.transport.close()

    def _refuse(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        else:  # an answer may be under way: nothing may be written into it
            self.transport.close()
