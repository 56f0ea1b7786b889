"""How a call that didn't end well is metered, and whether what was metered is charged."""

from typing import Protocol

from ams.usage.v1.events_pb2 import ANSWERED, BROKEN_OFF, CLIENT_CLOSED, REFUSED, UPSTREAM_FAILED, Outcome
from ams_rating.charging import ChargeRule, charge_class, is_charged

from ams_gateway.http import problems
from ams_gateway.http.problems import Problem

# What is the upstream's doing, and not the consumer's or ours.
UPSTREAM_FAULTS = (problems.UPSTREAM_FAILED, problems.UPSTREAM_TIMEOUT)
# Never sent, since the answer has begun: what ends a stream at a bound that both sides know.
TOTAL_TIME_OVER = Problem("total_time_over", 504, "Time is over", "The call has lasted as long as it may.")

_RULES_NAMES = {value: name.lower() for name, value in Outcome.items()}


class StatedRule(Protocol):
    """What a service's price gives away, as a message says it."""

    @property
    def is_client_error_free(self) -> bool: ...
    @property
    def is_abandoned_free(self) -> bool: ...


def outcome_of(reason: Problem, status: int) -> tuple[int, Outcome.ValueType]:
    """The status and the outcome of a forwarded call that ended for `reason`. `status`: that of the answer
    that was on its way to the consumer; 0: none was.

    What there is of an answer decides, for the upstream has worked for it: that the consumer left, or that we
    ended it (its key was revoked, the gateway stops), makes it no worse an answer.
    """
    if status:
        return status, BROKEN_OFF if reason in UPSTREAM_FAULTS else ANSWERED
    if reason is problems.CLIENT_CLOSED:
        return reason.status, CLIENT_CLOSED
    return reason.status, UPSTREAM_FAILED if reason in UPSTREAM_FAULTS else REFUSED


def is_free(rule: StatedRule, status: int, outcome: Outcome.ValueType) -> bool:
    """Whether a call that ended so is charged to nobody."""
    stated = ChargeRule(rule.is_client_error_free, rule.is_abandoned_free)
    return not is_charged(stated, charge_class(_RULES_NAMES[outcome], status))
