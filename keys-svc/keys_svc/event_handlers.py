"""What keys-svc does with the standing of consumers: it reaches the snapshots of all their keys."""

from collections.abc import Sequence
from dataclasses import replace

from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common.clock import utc_now
from ams_common.database import Change
from ams_common.standings import StandingState, is_newer, newest

from keys_svc import standing
from keys_svc.publishing import write_keys_of
from keys_svc.store import Store


async def apply_identity_events(change: Change[Store], events: Sequence[IdentityEvent]) -> None:
    """Applies each consumer's new standing. Raises ValueError for an event that holds no standing or id."""
    # A merchant's standing reaches the services' snapshots, which are the catalog's.
    changed = [event.consumer_changed for event in events if event.HasField("consumer_changed")]
    await apply_standings(change, [StandingState.of_consumer(each) for each in changed])


async def apply_standings(change: Change[Store], states: Sequence[StandingState]) -> None:
    """Applies what is newer than what is known, whether Kafka or identity-svc told it.

    Raises ValueError for what is no standing.
    """
    for state in newest(states):
        text = standing.to_table(state.standing)
        known = await change.store.lock_consumer(state.user_id)
        if not is_newer(state.version, known.standing_version):
            continue
        await change.store.set_standing(
            consumer_id=state.user_id, standing=text, standing_version=state.version
        )
        if state.standing != known.standing:
            await write_keys_of(change, replace(known, standing=state.standing), utc_now())
