"""What people and gateways ask is answered from indexes, however many keys there are."""

from typing import Any

import pytest
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.paging import PageRequest
from keys_svc.access_store import AccessStore
from keys_svc.expiry_notices import DAYS_AHEAD
from keys_svc.exposure_store import ExposureStore
from keys_svc.store import Store
from keys_svc.testing import Sample, fill, samples

_TABLES = ("keys", "key_services", "grants", "access_requests", "consumers", "previous_secrets")


@pytest.fixture
async def sample(database: Database[Store]) -> Sample:
    async with database.connection() as connection:
        await fill(connection, consumers=2000, keys_each=5, services=200)
        [found] = await samples(connection, 1)
    return found


def scans(plan: str) -> list[str]:
    """The tables that a plan reads from end to end."""
    return [name for name in _TABLES if f"Seq Scan on {name} " in plan]


async def test_no_question_reads_a_whole_table(database: Database[Store], sample: Sample) -> None:
    one, now = PageRequest(50, "", ""), utc_now()
    holders = [sample.consumer_id]
    pages: list[tuple[Any, str, dict[str, Any]]] = [
        (Store, "list_keys", {"holder_ids": holders, "patterns": [], "status": None, "now": now}),
        (
            Store,
            "list_keys",
            {"holder_ids": holders, "patterns": ["%key 3%"], "status": "active", "now": now},
        ),
        (Store, "list_keys_of_consumer", {"consumer_id": sample.consumer_id}),
        (AccessStore, "list_access_requests", {"status": "pending", "consumer_id": None}),
        (AccessStore, "list_access_requests", {"status": None, "consumer_id": sample.consumer_id}),
        (AccessStore, "list_consumer_access_requests", {"holder_ids": holders, "status": None}),
        (
            AccessStore,
            "list_merchant_access_requests",
            {"merchant_id": sample.merchant_id, "status": None, "service_id": None},
        ),
        (
            AccessStore,
            "list_consumer_grants",
            {"holder_ids": holders, "service_id": None, "only_in_force": False},
        ),
        (AccessStore, "list_grants_of_consumer", {"consumer_id": sample.consumer_id, "service_id": None}),
        (AccessStore, "list_grants_of_service", {"service_id": sample.service_id}),
        (
            AccessStore,
            "list_service_consumers",
            {"merchant_id": sample.merchant_id, "service_id": sample.service_id},
        ),
    ]
    single: list[tuple[Any, str, dict[str, Any]]] = [
        (Store, "find_key", {"key_id": sample.key_id, "user_id": sample.consumer_id}),
        (Store, "find_keys_by_hash", {"key_hashes": [sample.key_hash]}),
        (Store, "find_previous_secrets", {"key_hashes": [sample.key_hash]}),
        (Store, "live_keys", {"consumer_id": sample.consumer_id, "now": now}),
        (Store, "count_active_keys", {"holder_id": sample.consumer_id, "now": now}),
        (Store, "list_keys_to_write", {"after_id": sample.key_id, "limit": 500}),
        (Store, "take_keys_with_notice_due", {"now": now, "days_ahead": DAYS_AHEAD, "limit": 500}),
        (
            AccessStore,
            "find_service_consumers",
            {"merchant_id": sample.merchant_id, "consumer_id": sample.consumer_id, "service_id": None},
        ),
        (
            AccessStore,
            "list_service_keys",
            {"merchant_id": sample.merchant_id, "consumer_id": sample.consumer_id, "service_id": None},
        ),
        (
            AccessStore,
            "list_consumers_of_merchant",
            {"merchant_id": sample.merchant_id, "service_id": sample.service_id},
        ),
        (AccessStore, "ungranted", {"holder_id": sample.consumer_id, "service_ids": [sample.service_id]}),
        (
            AccessStore,
            "granted_services",
            {"consumer_id": sample.consumer_id, "holder_ids": holders, "roles": [1, 2, 3]},
        ),
    ]
    listed = {
        (store, name) for store in (Store, AccessStore, ExposureStore) for name in store.queries.orders_of()
    }
    assert listed == {(store, name) for store, name, _ in pages}, "a list without its plan"
    found = {}
    async with database.connection() as connection:
        for store, name, values in pages:
            plan = await store.queries.explain_page(connection, name, one, **values)
            found[f"{name} {sorted(map(str, values.values()))}"] = scans(plan)
        for store, name, values in single:
            found[name] = scans(await store.queries.explain(connection, name, **values))
    assert {name: tables for name, tables in found.items() if tables} == {}
