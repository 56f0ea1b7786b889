"""What catalog-svc does with what identity-svc tells: it keeps what it knows of merchants, and rewrites the
snapshots that depend on it."""

import logging
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common.clock import utc_now
from ams_common.database import Change
from ams_common.standings import StandingState, is_newer, newest

from catalog_svc.messages import standing_word
from catalog_svc.publishing import redis_keys
from catalog_svc.store import Store

log = logging.getLogger(__name__)

SNAPSHOT_BATCH = 500


async def apply_identity_events(change: Change[Store], events: Sequence[IdentityEvent]) -> None:
    """Saves the merchants that `events` tell of; each event carries its merchant's whole state.

    Raises ValueError for a merchant that can't be read, which dead-letters its event.
    """
    changed = [event.merchant_changed for event in events if event.HasField("merchant_changed")]
    # The events of one merchant come in order, so the last one wins; but one that was put aside may be
    # replayed after later ones. Sorted, so that two processes never wait for each other's rows.
    for _, merchant in sorted({each.merchant_id: each for each in changed}.items()):
        await change.store.save_merchant(
            UUID(merchant.merchant_id), merchant.display_name, merchant.slug, merchant.standing_version
        )
    await apply_standings(change, [StandingState.of_merchant(each) for each in changed])


async def apply_standings(change: Change[Store], states: Sequence[StandingState]) -> None:
    """Applies what is newer than what is known, whether Kafka or identity-svc told it.

    Raises ValueError for a standing that this release doesn't know.
    """
    for state in newest(states):
        word = standing_word(state.standing)
        known = await change.store.lock_standing(state.user_id)
        if not is_newer(state.version, known.standing_version):
            continue
        await change.store.set_standing(
            merchant_id=state.user_id, standing=word, standing_version=state.version
        )
        if word != known.standing:
            count = await _rewrite_snapshots(change, state.user_id, utc_now())
            log.info(
                "merchant's standing changed",
                extra={"merchant_id": str(state.user_id), "standing": word, "services": count},
            )


async def _rewrite_snapshots(change: Change[Store], merchant_id: UUID, now: datetime) -> int:
    await change.store.renew_snapshots(merchant_id=merchant_id, now=now)
    after_id, count = UUID(int=0), 0
    while True:
        snapshots = await change.store.list_active_snapshots(
            merchant_id=merchant_id, after_id=after_id, now=now, limit=SNAPSHOT_BATCH
        )
        for snapshot in snapshots:
            for redis_key in redis_keys(snapshot):
                change.snapshot(redis_key, snapshot)
        # Batch by batch: a merchant may have more services than fit into memory.
        await change.flush()
        count += len(snapshots)
        if len(snapshots) < SNAPSHOT_BATCH:
            return count
        after_id = UUID(snapshots[-1].service_id)
