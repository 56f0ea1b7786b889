"""The rules of a consumer's standing, as identity.events has it (FR4-ADMIN-02)."""

from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, STANDING_SUSPENDED, Standing
from ams_common.access import is_stopped
from ams_common.errors import PermissionDeniedError

_IN_TABLE = {
    STANDING_ACTIVE: "active",
    STANDING_SUSPENDED: "suspended",
    STANDING_BLOCKED: "blocked",
}
_ON_WIRE = {text: standing for standing, text in _IN_TABLE.items()}


def to_table(standing: Standing.ValueType) -> str:
    """The table's word. Raises ValueError for the unspecified standing and for numbers that mean nothing."""
    if standing not in _IN_TABLE:
        raise ValueError(f"{standing} is no standing")
    return _IN_TABLE[standing]


def from_table(text: str) -> Standing.ValueType:
    return _ON_WIRE[text]


def require_active(standing: Standing.ValueType) -> None:
    """Raises PermissionDeniedError for a consumer that an admin has blocked."""
    if is_stopped(standing):
        raise PermissionDeniedError("consumer_blocked", "Your account is blocked. Ask AMS support.")
