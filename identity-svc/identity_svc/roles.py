"""Roles and standings: their names in the database and in the contract, which role is active, and how a
standing changes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ams.identity.v1.events_pb2 import STANDING_UNSPECIFIED, Standing
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.errors import NotFoundError

_ORDER = (ADMIN, MERCHANT, CONSUMER)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a role's standing, and what is said when it isn't `before`."""

    role: str
    before: str
    after: str
    wrong_standing_code: str
    wrong_standing_message: str


SUSPEND = Transition(
    "merchant", "active", "suspended", "merchant_already_suspended", "This merchant is suspended already."
)
REINSTATE = Transition(
    "merchant", "suspended", "active", "merchant_not_suspended", "This merchant is not suspended."
)
BLOCK = Transition(
    "consumer", "active", "blocked", "consumer_already_blocked", "This consumer is blocked already."
)
UNBLOCK = Transition("consumer", "blocked", "active", "consumer_not_blocked", "This consumer is not blocked.")


def role_not_found(role: str) -> NotFoundError:
    """merchant_not_found or consumer_not_found: the same for a user without the role as for nobody."""
    if role == "merchant":
        return NotFoundError("merchant_not_found", "There is no such merchant.")
    return NotFoundError("consumer_not_found", "There is no such consumer.")


def role_of(text: str) -> Role.ValueType:
    """`merchant` → MERCHANT."""
    return Role.Value(text.upper())


def role_text(role: Role.ValueType) -> str | None:
    """MERCHANT → `merchant`; None for the unspecified one."""
    return Role.Name(role).lower() if role in _ORDER else None


def ordered_roles(texts: Collection[str]) -> Sequence[Role.ValueType]:
    """The roles of these names, in the order in which one is taken when none is wanted."""
    return [role for role in _ORDER if role_text(role) in texts]


def standing_of(text: str | None) -> Standing.ValueType:
    """`suspended` → STANDING_SUSPENDED; unspecified for None, the standing in a role that isn't held."""
    return Standing.Value(f"STANDING_{text.upper()}") if text is not None else STANDING_UNSPECIFIED


def standing_text(standing: Standing.ValueType) -> str | None:
    """STANDING_SUSPENDED → `suspended`; None for the unspecified one."""
    return Standing.Name(standing).removeprefix("STANDING_").lower() if standing else None


def active_role(held: Sequence[Role.ValueType], wanted: Role.ValueType) -> Role.ValueType:
    """`wanted` if it is held, else the first that is; unspecified for an account that may act in none."""
    if wanted in held:
        return wanted
    return held[0] if held else Role.ROLE_UNSPECIFIED
