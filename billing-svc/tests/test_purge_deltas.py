"""The deltas that were applied are remembered as long as they could come again, and no longer."""

from datetime import timedelta
from uuid import UUID

from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from billing_svc.retention import DELTAS_KEPT, purge_batch
from billing_svc.store import Store
from billing_svc.testing import Billing, Events, usage_delta


def _made_days_ago(days: float) -> UUID:
    moment_ms = int((utc_now() - timedelta(days=days)).timestamp() * 1000)
    return UUID(int=moment_ms << 80 | uuid7().int & (1 << 80) - 1)


async def test_old_deltas_are_purged_and_young_ones_still_count_once(
    billing: Billing, events: Events, database: Database[Store]
) -> None:
    priced, consumer_id = await events.priced_service(), uuid7()
    old, young = (usage_delta(priced, consumer_id, 3) for _ in range(2))
    old.delta_id = str(_made_days_ago(DELTAS_KEPT.days + 1))
    young.delta_id = str(_made_days_ago(DELTAS_KEPT.days - 1))
    late = usage_delta(priced, consumer_id, 3)  # old, but applied just now: it may yet come again
    late.delta_id = str(_made_days_ago(DELTAS_KEPT.days + 2))
    await events.usage(old, young)
    await billing.execute("UPDATE applied_deltas SET applied_at = applied_at - $1::interval", DELTAS_KEPT)
    await events.usage(late)
    assert await purge_batch(database) == 1
    assert await purge_batch(database) == 0
    left = {str(row["delta_id"]) for row in await billing.rows("SELECT delta_id FROM applied_deltas")}
    assert left == {young.delta_id, late.delta_id}
    await events.usage(young, late)
    (line,) = (await billing.spend(consumer_id, "2026-11")).lines
    assert line.quantity == 9
