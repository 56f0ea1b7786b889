"""What all calls of one key to one service share, worked out once: the hot path only reads it."""

from ams.usage.v1.events_pb2 import Outcome

from ams_gateway.access.snapshots import Grant
from ams_gateway.http.requests import VIA, Request
from ams_gateway.http.targets import Target
from ams_gateway.metering.journal import JournalError
from ams_gateway.metering.meter import Meter, Usage
from ams_gateway.upstream.exchange import Timeouts


class Terms:
    __slots__ = ("_meter", "grant", "key", "service", "target", "timeouts")

    def __init__(self, grant: Grant, meter: Meter, defaults: Timeouts) -> None:
        self.grant = grant
        self.key = grant.key
        self.service = grant.service
        assert grant.service.target is not None  # or the service would have a problem
        self.target: Target = grant.service.target
        self._meter = meter
        forwarding = grant.service.forwarding
        self.timeouts = Timeouts(
            forwarding.first_byte_timeout_s or defaults.first_byte_s,
            forwarding.idle_timeout_s or defaults.idle_s,
            forwarding.total_timeout_s or defaults.total_s,
        )

    def record(self, usage: Usage, status: int, outcome: Outcome.ValueType) -> bool:
        """Write the usage event; whether that has worked."""
        try:
            self._meter.record(usage, self.key, self.service, status, outcome)
        except JournalError:
            return False
        return True

    def head_of(self, request: Request) -> bytes:
        """The request's head as the merchant gets it, but for the lines that each request has its own of. It
        stays with the request, for those that repeat their head."""
        if request.prefix_grant is self.grant:
            return request.prefix
        lines = b"\r\n".join(request.lines)
        head = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%bvia: %b\r\n" % (
            request.method.encode("ascii"),
            self.target.request_target(request.path, request.query),
            self.target.authority,
            lines,
            b"\r\n" if lines else b"",
            VIA if request.via is None else request.via + b", " + VIA,
        )
        request.prefix, request.prefix_grant = head, self.grant
        return head
