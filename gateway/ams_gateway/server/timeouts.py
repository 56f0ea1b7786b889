"""How long a consumer's connection may stay without progress."""

from dataclasses import dataclass

SWEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Exact to `sweep_s`: connections are looked at now and then, for a timer per request is too dear."""

    # From a head's first byte to its last.
    head_s: float = 10.0
    # Between two pieces of a body that is being waited for.
    body_s: float = 15.0
    # While nothing of what was written is taken.
    write_s: float = 60.0
    # Between two requests.
    idle_s: float = 75.0

    @property
    def sweep_s(self) -> float:
        return min(SWEEP_S, min(self.head_s, self.body_s, self.write_s, self.idle_s) / 2)
