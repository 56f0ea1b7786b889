"""The answer to one request's question whether it may pass, and what its response says of the limits.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10: per limit one item, "minute", "day", "month",
with what is left (r) and how long until there is more (t). They are by what Redis said last and what this
worker has spent since: what others spent meanwhile shows a moment later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ams_gateway.access.limits.policy import BOUNDS, Bound

if TYPE_CHECKING:
    from ams_gateway.access.limits.holding import Holding

_WINDOWS = (b";w=60", b";w=86400", b"")
_NAMES = tuple(b'"%b"' % bound.encode("ascii") for bound in BOUNDS)


def policy_line(limits: tuple[int, int, int]) -> bytes:
    """What may pass, the same on each response: the field's line, with its end. Months differ in length, so
    theirs isn't given."""
    items = [
        b"%b;q=%d%b" % (name, limit, window)
        for name, limit, window in zip(_NAMES, limits, _WINDOWS, strict=True)
        if limit >= 0
    ]
    return b"ratelimit-policy: %b\r\n" % b", ".join(items)


class Allowance:
    """The fields are made when they are asked for, by what had been spent when this was decided."""

    __slots__ = ("_now_s", "_policy", "_requests", "_taken", "allowed", "bound", "retry_after_s")

    def __init__(
        self,
        requests: Holding | None,
        policy: bytes,
        now_s: float,
        bound: Bound | None = None,
        retry_after_s: int = 0,
    ) -> None:
        self.allowed = bound is None
        self.bound = bound
        # Whole seconds, at least 1 when denied.
        self.retry_after_s = retry_after_s
        self._requests = requests
        self._policy = policy
        self._taken = 0 if requests is None else requests.taken
        self._now_s = now_s

    def fields(self) -> bytes:
        """Lines, each with its end; b"" when nothing is limited."""
        fields = b""
        if self._requests is not None:
            fields = b"%bratelimit: %b\r\n" % (self._policy, self._state(self._requests))
        return fields if self.allowed else b"%bretry-after: %d\r\n" % (fields, self.retry_after_s)

    def _state(self, requests: Holding) -> bytes:
        limits = requests.limits
        if limits.day < 0 and limits.month < 0 and self.allowed:
            # By far the most frequent.
            rest, reset_s = requests.rest(0, self._taken), requests.reset_s(0, self._now_s)
            return b'"minute";r=%d;t=%d' % (rest, int(reset_s) + 1 if reset_s > 0 else 1)
        return b", ".join(self._item(requests, index) for index, limit in enumerate(limits) if limit >= 0)

    def _item(self, requests: Holding, index: int) -> bytes:
        if self.bound == BOUNDS[index]:
            rest, reset_s = 0, self.retry_after_s
        else:
            rest = requests.rest(index, self._taken)
            reset_s = max(0, int(requests.reset_s(index, self._now_s))) + 1
        return b"%b;r=%d;t=%d" % (_NAMES[index], rest, reset_s)
