"""What all calls of one key to one service share, worked out once: the hot path only reads it."""

import time
from typing import Literal

from ams.catalog.v1.forwarding_pb2 import PER_KEY
from ams.keys.v1.events_pb2 import ServiceTerms, SpendCap
from ams.usage.v1.events_pb2 import ANSWERED, Outcome
from ams_common.sealing import Sealer, SealingError
from ams_common.web import COOKIE_NAMES
from google.type.money_pb2 import Money

from ams_gateway.access.call_price import NANOS_PER_UNIT
from ams_gateway.access.limits.bucket import LimitBucket
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.limits.policy import LimitPolicy
from ams_gateway.access.limits.policy import SpendCap as Cap
from ams_gateway.access.snapshots import CachedKey, CachedService, Grant
from ams_gateway.http.cookies import filter_cookie, rewrite_set_cookie
from ams_gateway.http.forwarding_fields import careless
from ams_gateway.http.heads import join_lines
from ams_gateway.http.redirects import rewrite_link, rewrite_location
from ams_gateway.http.requests import VIA, Frame, Request
from ams_gateway.http.responses import Response
from ams_gateway.http.signatures import Signer
from ams_gateway.http.targets import Target
from ams_gateway.metering.journal import JournalError
from ams_gateway.metering.meter import Meter, Usage
from ams_gateway.upstream.exchange import Timeouts
from ams_gateway.upstream.outcomes import is_free

_OUR_COOKIES = frozenset(name.encode("ascii") for name in COOKIE_NAMES)


class Credentials:
    """What proves to a service's merchant that a call came through AMS. `is_sealed`: it can't be unsealed."""

    __slots__ = ("_next_signer", "_next_starts_s", "header_name", "is_sealed", "line", "signer")

    def __init__(self, service: CachedService, sealer: Sealer) -> None:
        self.header_name = b""
        self.line = b""
        self.signer: Signer | None = None
        self._next_signer: Signer | None = None
        self._next_starts_s = float("inf")
        self.is_sealed = False
        credential, signing_key = service.credential, service.signing_key
        following = service.next_signing_key
        try:
            if credential.header_name:
                name = credential.header_name.encode("ascii")
                self.header_name = careless(name)
                self.line = b"%b: %b\r\n" % (name, sealer.unseal(credential.sealed_value))
            if signing_key.signing_key_id:
                self.signer = Signer(signing_key.signing_key_id, sealer.unseal(signing_key.sealed_secret))
            if following.signing_key_id:
                self._next_signer = Signer(following.signing_key_id, sealer.unseal(following.sealed_secret))
                self._next_starts_s = following.starts_at.seconds
        except SealingError:
            self.is_sealed = True

    def signer_at(self, now_s: int) -> Signer | None:
        """What signs at that time; None for a service without a signing key."""
        return self.signer if now_s < self._next_starts_s else self._next_signer


class Terms:
    __slots__ = (
        "_host_line",
        "_meter",
        "_price",
        "_root",
        "_spends_bytes",
        "bucket",
        "credentials",
        "grant",
        "key",
        "max_connections",
        "policy",
        "service",
        "shows_costs",
        "target",
        "timeouts",
    )

    def __init__(
        self,
        grant: Grant,
        meter: Meter,
        limiter: Limiter,
        credentials: Credentials,
        defaults: Timeouts,
        default_max_connections: int,
    ) -> None:
        self.grant = grant
        self.key = grant.key
        self.service = grant.service
        assert grant.service.target is not None  # or the service would have a problem
        self.target: Target = grant.service.target
        self._host_line = b"host: " + self.target.authority
        self._root = self.target.request_target(None, b"")
        self.credentials = credentials
        self._meter = meter
        self.policy = policy_of(grant.key, grant.service)
        # None: nothing limits these calls.
        self.bucket: LimitBucket | None = limiter.bucket(self.policy)
        if not self.bucket.limits_anything:
            self.bucket = None
        self._price = grant.service.call_price
        # Whether there is anything to charge once the bytes of a call are known.
        self._spends_bytes = self.bucket is not None and self._price.counts_bytes
        forwarding = grant.service.forwarding
        self.shows_costs = forwarding.shows_costs
        self.max_connections = forwarding.max_connections or default_max_connections
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
        if self._spends_bytes and not is_free(self.service.price.charge_rule, status, outcome):
            self._charge_bytes(usage)
        return True

    def record_part(self, usage: Usage, status: int) -> bool:
        """Write what was used since the last event of a call that goes on; whether that has worked."""
        try:
            self._meter.record_part(usage, self.key, self.service, status)
        except JournalError:
            return False
        if self._spends_bytes and not is_free(self.service.price.charge_rule, status, ANSWERED):
            self._charge_bytes(usage)
        return True

    def _charge_bytes(self, usage: Usage) -> None:
        """What the bytes have cost since the call's last event."""
        if usage.is_lost:
            return
        cost = self._price.nanos(usage.request_bytes, usage.response_bytes)
        more = cost - self._price.least_nanos - usage.charged_nanos
        if more > 0:
            assert self.bucket is not None
            usage.charged_nanos += more
            self.bucket.charge(more)

    def cost_fields(self, usage: Usage, response: Response) -> bytes:
        """What the call costs, as far as its head tells, and the key's calls this month: estimates, for
        billing-svc rates them."""
        if not self.shows_costs or self.bucket is None or not self.policy.currency:
            return b""
        currency = self.policy.currency.encode("ascii")
        cost = 0
        if not is_free(self.service.price.charge_rule, response.status, ANSWERED):
            cost = self._price.nanos(usage.request_bytes, response.content_length or 0)
        fields = b"x-ams-cost-estimate: %b %b\r\n" % (_amount(cost), currency)
        spent_nanos = self.bucket.month_to_date_nanos()
        if spent_nanos is None:
            return fields
        return b"%bx-ams-month-estimate: %b %b\r\n" % (fields, _amount(spent_nanos), currency)

    # The request, as the merchant gets it

    def head_of(self, request: Request, own: bytes) -> bytes:
        """The head, with the lines of this one call, `own`, and the empty one at its end."""
        frame, fields = request.frame, request.block
        if frame.grant is not self.grant:
            self._fill(frame, request)
        header_name = self.credentials.header_name
        if header_name and header_name in careless(fields):
            # Only AMS may say it, under whatever spelling.
            lines = [line for line in request.lines if careless(line.partition(b":")[0]) != header_name]
            fields = join_lines(lines)
        if request.cookie is not None and self._passes_cookies(request):
            cookie = filter_cookie(request.cookie, _OUR_COOKIES)
            if cookie is not None:
                fields += b"cookie: %b\r\n" % cookie
        return b"%b%b%b%b\r\n" % (frame.before, fields, frame.after, own)

    def _fill(self, frame: Frame, request: Request) -> None:
        method, target = request.method.encode("ascii"), self._target_of(request)
        frame.before = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, self._host_line)
        frame.after = b"%bvia: %b\r\n" % (self.credentials.line, VIA)
        frame.grant = self.grant

    def signature_of(self, request: Request, request_id: bytes) -> bytes:
        """The lines of the request's signature; none for a service without a signing key."""
        created_s = int(time.time())
        signer = self.credentials.signer_at(created_s)
        if signer is None:
            return b""
        path, _, query = self._target_of(request).partition(b"?")
        signed = signer.sign(
            method=request.method.encode("ascii"),
            path=path,
            query=query,
            request_id=request_id,
            created_s=created_s,
        )
        return b"signature-input: %b\r\nsignature: %b\r\n" % signed

    def _target_of(self, request: Request) -> bytes:
        if request.path is None and not request.query:
            return self._root
        return self.target.request_target(request.path, request.query)

    def _passes_cookies(self, request: Request) -> bool:
        # Below the service's own path only: elsewhere a browser couldn't tell one service's from another's.
        return request.is_transparent and self.service.forwarding.passes_cookies

    # The answer, as the consumer gets it

    def rewrite(self, request: Request, response: Response) -> list[bytes]:
        """The lines of the fields that name the merchant's own origin, for this consumer."""
        lines = []
        for name, value in response.special:
            if name == b"set-cookie":
                rewritten = self._rewrite_cookie(request, value)
            else:
                rewrite = rewrite_link if name == b"link" else rewrite_location
                rewritten = rewrite(value, base=self.target, scope=request.scope, requested_path=request.path)
            if rewritten is not None:
                lines.append(b"%b: %b" % (name, rewritten))
        return lines

    def _rewrite_cookie(self, request: Request, value: bytes) -> bytes | None:
        if not self._passes_cookies(request):
            return None
        return rewrite_set_cookie(value, scope=request.scope, base_path=self.target.path, ours=_OUR_COOKIES)


def policy_of(key: CachedKey, service: CachedService) -> LimitPolicy:
    """What limits the calls of this key to this service."""
    forwarding = service.forwarding
    own = key.limits.get(service.service_id, _NO_TERMS)
    scopes = {SpendCap.KEY: key.key_id, SpendCap.PROJECT: key.project_id, SpendCap.CONSUMER: key.consumer_id}
    return LimitPolicy(
        service_id=service.service_id,
        consumer_id=key.consumer_id,
        key_id=key.key_id,
        is_test=key.is_test,
        is_per_key=forwarding.limit_scope == PER_KEY,
        per_minute=_lower(service.rate_limit_per_minute, own.per_minute),
        per_day=_lower(forwarding.quota_per_day, own.per_day),
        per_month=_lower(forwarding.quota_per_month, own.per_month),
        price_nanos=service.call_price.least_nanos,
        currency=service.call_price.currency,
        caps=tuple(
            Cap(_SCOPES[cap.scope], scopes[cap.scope], _nanos(cap.amount), cap.amount.currency_code)
            for cap in key.spend_caps
            if scopes.get(cap.scope)
        ),
        shows_costs=forwarding.shows_costs,
    )


def _lower(limit: int, own: int) -> int:
    """The lower of the service's limit and the one that its merchant has set for this consumer; 0 is none."""
    return min(limit, own) if limit and own else limit or own


_NO_TERMS = ServiceTerms()
_SCOPES: dict[int, Literal["key", "project", "consumer"]] = {
    SpendCap.KEY: "key",
    SpendCap.PROJECT: "project",
    SpendCap.CONSUMER: "consumer",
}


def _nanos(amount: Money) -> int:
    return int(amount.units * NANOS_PER_UNIT + amount.nanos)


def _amount(nanos: int) -> bytes:
    """In units of the currency, without zeros at the end."""
    units, rest = divmod(nanos, NANOS_PER_UNIT)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{units}.{decimals}".encode("ascii")
