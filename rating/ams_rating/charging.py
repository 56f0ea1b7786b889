"""Which calls are charged: by how they ended, and by the rule of the service's price (PRD-11)."""

from dataclasses import dataclass
from enum import Enum


class ChargeClass(Enum):
    """What a call can be charged as. The values are what files and columns hold."""

    SERVED = "served"
    CLIENT_ERROR = "client_error"
    ABANDONED = "abandoned"
    UNCHARGED = "uncharged"


@dataclass(frozen=True, slots=True)
class ChargeRule:
    """What a service gives away although its upstream answered. 4xx and abandoned calls are charged unless
    it says otherwise."""

    is_client_error_free: bool = False
    is_abandoned_free: bool = False


def charge_class(outcome: str, status_code: int) -> ChargeClass:
    """What a call is by how it ended: `outcome` is one of answered, client_closed, upstream_failed,
    broken_off and refused. An upstream's 5xx, and whatever AMS refused or failed, is charged by no rule.

    Raises ValueError for another outcome.
    """
    if outcome in ("answered", "broken_off"):
        if status_code >= 500:
            return ChargeClass.UNCHARGED
        return ChargeClass.CLIENT_ERROR if status_code >= 400 else ChargeClass.SERVED
    if outcome == "client_closed":
        return ChargeClass.ABANDONED
    if outcome in ("upstream_failed", "refused"):
        return ChargeClass.UNCHARGED
    raise ValueError(f"{outcome!r} is no outcome")


def is_charged(rule: ChargeRule, kind: ChargeClass) -> bool:
    """Whether calls of this class are charged under `rule`."""
    return (
        kind is ChargeClass.SERVED
        or (kind is ChargeClass.CLIENT_ERROR and not rule.is_client_error_free)
        or (kind is ChargeClass.ABANDONED and not rule.is_abandoned_free)
    )
