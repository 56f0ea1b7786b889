"""How long pages wait for a service, and that one which has just kept them waiting isn't waited for again.

A service that is down refuses connections at once; one that hangs takes them and says nothing, and every
call of a page would wait for it in vain.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ams_common.errors import UnavailableError

# What changes something, or works out a lot: nobody knows how much was done of what is given up.
LONG_DEADLINE_S = 10.0
# So long a service isn't asked that has kept a reader waiting.
_REMEMBERED_S = 5.0
_READS = ("BatchGet", "Get", "List", "Preview")


def is_read(rpc: str) -> bool:
    """Whether an RPC of this name only tells something (AIP-130)."""
    return rpc.startswith(_READS)


@dataclass(slots=True)
class Hangs:
    """The services of which it is known, for a moment, that they hang. One for the process."""

    # Of what is looked at: a page does without it, or says so, rather than keep its reader waiting.
    read_deadline_s: float
    clock: Callable[[], float] = time.monotonic
    _until_s: dict[str, float] = field(default_factory=dict)
    _answered_s: dict[str, float] = field(default_factory=dict)

    def check(self, service: str) -> None:
        """Raises UnavailableError for a service that hangs."""
        if self.clock() < self._until_s.get(service, 0.0):
            raise UnavailableError("service_hangs", "A part of the system doesn't answer. Try again shortly.")

    def missed(self, service: str, asked_at_s: float) -> None:
        """It hasn't answered in time what it was asked then. If it has answered somebody else meanwhile, only
        the question was slow."""
        if self._answered_s.get(service, -1.0) < asked_at_s:
            self._until_s[service] = self.clock() + _REMEMBERED_S

    def answered(self, service: str) -> None:
        """It doesn't hang, or no more."""
        self._answered_s[service] = self.clock()
        self._until_s.pop(service, None)
