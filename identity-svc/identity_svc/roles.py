"""Roles and standings: their names in the database and in the contract, and which role is active."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ams.identity.v1.events_pb2 import Standing
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role

# In the order in which one is taken when nothing else says which.
_ORDER = (ADMIN, MERCHANT, CONSUMER)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a role's standing, and the codes that refuse it."""

    role: str
    before: str
    after: str
    not_found_code: str
    refused_code: str
    refused_message: str


SUSPEND = Transition(
    "merchant",
    "active",
    "suspended",
    "merchant_not_found",
    "merchant_already_suspended",
    "This merchant is suspended already.",
)
REINSTATE = Transition(
    "merchant",
    "suspended",
    "active",
    "merchant_not_found",
    "merchant_not_suspended",
    "This merchant is not suspended.",
)
BLOCK = Transition(
    "consumer",
    "active",
    "blocked",
    "consumer_not_found",
    "consumer_already_blocked",
    "This consumer is blocked already.",
)
UNBLOCK = Transition(
    "consumer",
    "blocked",
    "active",
    "consumer_not_found",
    "consumer_not_blocked",
    "This consumer is not blocked.",
)


def role_of(text: str) -> Role.ValueType:
    """`merchant` → MERCHANT."""
    return Role.Value(text.upper())


def role_text(role: Role.ValueType) -> str | None:
    """MERCHANT → `merchant`; None for the unspecified one."""
    return Role.Name(role).lower() if role in _ORDER else None


def ordered_roles(texts: Collection[str]) -> Sequence[Role.ValueType]:
    """The roles in their order."""
    return [role for role in _ORDER if role_text(role) in texts]


def standing_of(text: str) -> Standing.ValueType:
    """`suspended` → STANDING_SUSPENDED."""
    return Standing.Value(f"STANDING_{text.upper()}")


def standing_text(standing: Standing.ValueType) -> str | None:
    """STANDING_SUSPENDED → `suspended`; None for the unspecified one."""
    return Standing.Name(standing).removeprefix("STANDING_").lower() if standing else None


def active_role(held: Sequence[Role.ValueType], wanted: Role.ValueType) -> Role.ValueType:
    """`wanted` if it is held, else the first that is; unspecified for an account that may act in none."""
    if wanted in held:
        return wanted
    return held[0] if held else Role.ROLE_UNSPECIFIED
