"""Keys whose secrets were found in public: the rules, pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from ams.identity.v1.notifications_pb2 import KeyExposed, Notification
from ams_common.clock import to_timestamp
from google.type.money_pb2 import Money

from keys_svc.keys import Key

# For ever the same: a notification is told once for its id.
_NOTIFICATIONS = UUID("0d0bb0a1-2b1d-5a7e-9d5e-61f0f1b0c7a4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """A row of exposures: that one of a key's secrets was found at a place."""

    exposure_id: UUID
    key_id: UUID
    found_at: str
    exposed_since: datetime
    reported_at: datetime
    has_disabled: bool


def exposed_since(said: datetime | None, key: Key, now: datetime) -> datetime:
    """Since when a secret is public, by what whoever found it says: not before there was one, and not later
    than now."""
    return min(max(said or now, key.rotated_at or key.created_at), now)


def notifications(exposure: Exposure, key: Key, cost_since: Sequence[Money]) -> list[Notification]:
    """For whoever pays for the key, and whoever made it."""
    return [
        Notification(
            notification_id=str(uuid5(_NOTIFICATIONS, f"{exposure.exposure_id}|{user_id}")),
            user_id=str(user_id),
            occurred_at=to_timestamp(exposure.reported_at),
            key_exposed=KeyExposed(
                key_id=str(key.key_id),
                key_name=key.name,
                key_prefix=key.key_prefix,
                found_at=exposure.found_at,
                exposed_since=to_timestamp(exposure.exposed_since),
                cost_since=cost_since,
                is_disabled=exposure.has_disabled,
            ),
        )
        for user_id in sorted({key.consumer_id, key.created_by})
    ]
