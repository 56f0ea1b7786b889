"""What keys-svc keeps of a consumer: what holds for all its keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ams.identity.v1.events_pb2 import STANDING_ACTIVE, Standing

from keys_svc.spend_caps import SpendCap, cap_in
from keys_svc.standing import from_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A row of consumers. One whose registration hasn't been heard of yet has none, and is active.
    `disables_found_keys`: what happens to a key of theirs that is found in public."""

    consumer_id: UUID
    standing: Standing.ValueType = STANDING_ACTIVE
    standing_version: int = 0
    spend_cap: SpendCap | None = None
    disables_found_keys: bool = True


def consumer_of(row: Mapping[str, Any]) -> Consumer:
    return Consumer(
        consumer_id=row["consumer_id"],
        standing=from_table(row["standing"]),
        standing_version=row["standing_version"],
        spend_cap=cap_in(row),
        disables_found_keys=row["disables_found_keys"],
    )
