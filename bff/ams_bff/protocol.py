"""uvicorn's HTTP protocol with a bound on what isn't body.

The parser gathers a header of any size before it tells of it, so the bytes are counted as they come in.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Request line, headers, chunk framing and trailers of one request, beyond its first packet.
MAX_OVERHEAD_BYTES = 64 * 1024


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

    def _refuse(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("The header section is too large.")
        else:  # an answer may be under way: nothing may be written into it
            self.transport.close()
