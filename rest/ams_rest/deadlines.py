"""How long the pages and REST wait for a service, and that one which has just kept them waiting isn't waited
for again.

A service that is down refuses connections at once; one that hangs takes them and says nothing, and every
call of a page would wait for it in vain.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ams_common.errors import DeadlineExceededError

T = TypeVar("T")

# So long a service isn't asked that has kept a reader waiting.
_REMEMBERED_S = 5.0
_READS = ("BatchGet", "Get", "List", "Preview")
# These tell something too, but work out a lot.
SLOW = frozenset(
    {"GetInvoiceDocument", "GetInvoiceProof", "GetReconciliation", "GetStatement", "ListInvoiceLineEvents"}
)


def is_quick(rpc: str) -> bool:
    """Whether an RPC of this name only tells something (AIP-130), and is quick about it."""
    return rpc.startswith(_READS) and rpc not in SLOW


@dataclass(slots=True)
class Deadlines:
    """The services of which it is known, for a moment, that they hang. One for the process."""

    # Of what is looked at: a page does without it, or says so, rather than keep its reader waiting.
    read_deadline_s: float
    # What changes something, or works out a lot: nobody knows how much was done of what is given up.
    long_deadline_s: float
    clock: Callable[[], float] = time.monotonic
    _until_s: dict[str, float] = field(default_factory=dict)
    _answered_s: dict[str, float] = field(default_factory=dict)

    async def ask(self, service: str, rpc: str, call: Callable[[float], Awaitable[T]]) -> T:
        """What `call` answers, which is told how many seconds it has. Raises AppError: what `call` does, and
        DeadlineExceededError at once where a read would wait in vain."""
        if not is_quick(rpc):
            return await call(self.long_deadline_s)
        self.check(service)
        asked_at_s = self.clock()
        try:
            answer = await call(self.read_deadline_s)
        except DeadlineExceededError:
            self.missed(service, asked_at_s)
            raise
        self.answered(service)
        return answer

    def check(self, service: str) -> None:
        """Raises DeadlineExceededError for a service that hangs."""
        if self.clock() < self._until_s.get(service, 0.0):
            # The code of a call that has waited: whoever comes a moment later has to know nothing more.
            raise DeadlineExceededError(
                "deadline_exceeded",
                "A part of the system doesn't answer. Try again shortly.",
                retry_after_s=f"{_REMEMBERED_S:.0f}",
            )

    def missed(self, service: str, asked_at_s: float) -> None:
        """It hasn't answered in time what it was asked then. If it has answered somebody else meanwhile, only
        the question was slow."""
        if self._answered_s.get(service, -1.0) < asked_at_s:
            self._until_s[service] = self.clock() + _REMEMBERED_S

    def answered(self, service: str) -> None:
        """It doesn't hang, or no more."""
        self._answered_s[service] = self.clock()
        self._until_s.pop(service, None)
