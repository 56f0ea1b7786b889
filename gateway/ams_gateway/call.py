"""One request on its way, and the consumer who made it."""

from typing import Protocol

from ams_gateway.access.limits.allowance import Allowance
from ams_gateway.access.snapshots import CachedService
from ams_gateway.http.dates import http_date
from ams_gateway.http.requests import Request
from ams_gateway.http.responses import Response
from ams_gateway.long_calls import LongCall
from ams_gateway.metering.meter import EventIds
from ams_gateway.upstream.exchange import Client, Exchange


class ClientGoneError(Exception):
    """The consumer closed the connection."""


class Refused(Protocol):
    """Whoever a problem is told."""

    def close_after(self) -> None:
        """Close the connection once the answer has been sent."""

    def start(self, status: int, fields: bytes, length: int | None, body: bytes, more: bool) -> None:
        """As Client.start."""


class Caller(Client, Refused, Protocol):
    """A consumer's connection, as an entry presents it, before and after its call is handed over."""

    @property
    def is_gone(self) -> bool: ...

    async def first_piece(self) -> tuple[bytes, bool]:
        """The first piece of the request's body, and whether it is the last. Raises ClientGoneError."""

    def take(self) -> tuple[bytes, bool]:
        """What has come of the body since, and whether that is the rest of it."""

    def attach(self, exchange: Exchange) -> None:
        """From now on `exchange` is told what comes of the body, and when the consumer leaves or is full."""


class Call(LongCall):
    """One request on its way: what is counted of it, and what its answer gets."""

    # None: nothing limits it, or it hasn't come so far.
    allowance: Allowance | None = None
    # When a refused one may come again.
    retry_after_s = 0
    is_forwarded = False
    # Known only of a browser's call: what else it gets depends on it.
    service: CachedService | None = None
    # Kept only for a request that may be repeated.
    head = body = b""

    def __init__(self, ids: EventIds, request: Request, client: Caller) -> None:
        super().__init__(ids)
        self.request_id = request.request_id
        self.request = request
        self.client = client

    def compose(self, response: Response) -> bytes:
        """The fields that the consumer gets of an answer."""
        terms, request = self.terms, self.request
        fields = response.block
        if response.special:
            fields += b"".join([line + b"\r\n" for line in terms.rewrite(request, response)])
        if response.date is None:
            fields += b"date: %b\r\n" % http_date()
        if terms.shows_costs:
            fields += terms.cost_fields(self, response)
        if terms.service.cors is not None:
            fields += cors_fields(terms.service, request)
        return b"%b%bx-request-id: %b\r\n" % (fields, self.limit_fields, self.request_id or self.id_text)

    @property
    def limit_fields(self) -> bytes:
        return b"" if self.allowance is None else self.allowance.fields()


def cors_fields(service: CachedService, request: Request) -> bytes:
    """What lets a page read the answer, by the service's setting."""
    if service.cors is None:
        return b""
    return b"".join(b"%b: %b\r\n" % field for field in service.cors.answer(request.origin))
