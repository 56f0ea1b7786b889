"""What always holds of the figures of a whole system that runs."""

from collections.abc import Mapping

from ams_common.database import Database
from billing_svc.invariants import check_invariants
from billing_svc.store import Store as BillingStore
from usage_svc.invariants import find_broken
from usage_svc.store import Store as UsageStore


async def broken_invariants(database_urls: Mapping[str, str]) -> list[str]:
    """What breaks an invariant of usage-svc or billing-svc, in words. Usage may go on meanwhile."""
    async with Database.open(database_urls["usage"], UsageStore, size=1) as usage, usage.read() as store:
        broken = await find_broken(store.connection)
    async with Database.open(database_urls["billing"], BillingStore, size=1) as billing:
        of_billing = await check_invariants(billing)
    return [f"{name}: {rows} rows break it" for name, rows in broken.items()] + of_billing
