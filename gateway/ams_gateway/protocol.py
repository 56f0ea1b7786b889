"""uvicorn's HTTP protocol with what it leaves open: a bound on the head, and trailers kept out of it."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# What one read of the socket may bring beyond the bound before it is noticed.
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
)
_BODY = (
    b'{"type": "urn:ams:problem:headers_too_large", "title": "Headers too large", "status": 431, '
    b'"detail": "The request\'s headers are too large.", "code": "headers_too_large"}'
)
# The door refuses what is above its own, configured bound; this one keeps memory bounded before that.
MAX_HEAD_BYTES = 128 * 1024


class GatewayProtocol(HttpToolsProtocol):
    """For uvicorn's `http=`. The parser caps nothing, and hands trailers over as if they were headers,
    into the very list that the application is looking at."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_body = False
        self._unread_bytes = 0

    def data_received(self, data: bytes) -> None:
        if not self._is_in_body:
            self._unread_bytes += len(data)
        super().data_received(data)
        if not self._is_in_body and self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE % (len(_BODY), _BODY))
            self.transport.close()

    def on_message_begin(self) -> None:
        self._is_in_body = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        self._unread_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        self._unread_bytes = 0
        super().on_message_complete()
