"""How the server finds what is asked for: no question reads a whole table, however many services there are.

The words that are looked for are rare: of a word that every other service has, half of all are read.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from ams_common.ids import uuid7
from ams_common.paging import PageRequest
from catalog_svc.store import Store
from catalog_svc.testing import Catalog

SOMEBODY, SOMETHING = uuid7(), uuid7()
PRICE = (
    '{"currency": "USD", "components": [],'
    ' "charge_rule": {"is_client_error_free": false, "is_abandoned_free": false}}'
)
SERVICES_BY = ("created_at desc", "updated_at", "name", "status")
# Queries that ask for a moment.
_DATED = {
    "find_service",
    "find_service_by_slug",
    "find_services",
    "find_snapshots",
    "list_due_snapshots",
    "list_active_snapshots",
    "list_snapshots_to_write",
}


async def _fill(catalog: Catalog) -> UUID:
    """Some thousand services and what belongs to them; a merchant's id."""
    # Each within the time that a statement has.
    await catalog.execute(
        "INSERT INTO merchants (merchant_id, standing)"
        " SELECT gen_random_uuid(), 'active' FROM generate_series(1, 40)"
    )
    await catalog.execute(
        f"""
        INSERT INTO services (service_id, merchant_id, slug, name, description, type, status, base_url,
            documentation_url, version, tags, rate_limit_per_minute, additional_info, draft_price,
            created_at, updated_at, published_at, merchant_name, categories, visibility)
        SELECT gen_random_uuid(), owners[1 + n % 40], 's-' || n, 'Service number' || n, 'words', 'api',
            CASE n % 10 WHEN 7 THEN 'draft' ELSE 'active' END, 'https://a.example', '', '1',
            ARRAY['tag-' || n % 50], 0, '', CASE n % 10 WHEN 7 THEN '{PRICE}'::jsonb END,
            moment, now() - random() * interval '1 day', CASE WHEN n % 10 <> 7 THEN moment END, 'Acme',
            ARRAY['weather'], CASE WHEN n % 50 = 0 THEN 'private' ELSE 'public' END
        FROM generate_series(1, 4000) AS n, (SELECT array_agg(merchant_id) AS owners FROM merchants) AS known,
            LATERAL (SELECT now() - n * interval '1 s' AS moment) AS times
        """
    )
    await catalog.execute(
        f"""
        INSERT INTO price_versions (price_version_id, service_id, price, starts_at, created_at)
        SELECT gen_random_uuid(), service_id, '{PRICE}', now(), now() FROM services;
        INSERT INTO service_revisions
            (revision_id, service_id, number, status, content, created_at, updated_at)
        SELECT gen_random_uuid(), service_id, 1, 'pending', '{{}}', now(), now() FROM services;
        INSERT INTO service_invitations (invitation_id, service_id, token_sha256, note, max_uses, created_by,
            created_at, expires_at)
        SELECT service_id, service_id, sha256(service_id::text::bytea), 'x', 9, merchant_id, now(), now()
        FROM services;
        INSERT INTO service_viewers (invitation_id, user_id, accepted_at)
        SELECT invitation_id, gen_random_uuid(), now() FROM service_invitations;
        """
    )
    # Their own statements: neither goes with others.
    await catalog.execute("VACUUM ANALYZE")
    [row] = await catalog.rows("SELECT merchant_id FROM services LIMIT 1")
    merchant_id: UUID = row["merchant_id"]
    return merchant_id


def _lists(now: Any, merchant_id: UUID) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each list as it is asked for: its query, an order and its filters."""
    plain = {"status": None, "merchant_id": None, "service_ids": None, "patterns": [], "now": now}
    for order in SERVICES_BY:
        yield "list_services", order, plain
        yield "list_services", order, plain | {"status": "draft"}
        yield "list_services", order, plain | {"merchant_id": merchant_id}
        yield "list_services", order, plain | {"merchant_id": merchant_id, "patterns": ["%42%"]}
        yield "list_services", order, plain | {"service_ids": [SOMETHING], "patterns": ["%42%"]}
    yield "list_pending_revisions", "", {}
    yield "list_service_revisions", "", {"service_id": SOMETHING}
    yield "list_invitations", "", {"service_id": SOMETHING}


async def test_no_list_reads_a_whole_table(catalog: Catalog) -> None:
    merchant_id = await _fill(catalog)
    reads = {}
    lists = list(_lists(catalog.clock(), merchant_id))
    assert {name for name, _, _ in lists} == Store.queries.orders_of().keys(), "a list without its plan"
    async with catalog.database.connection() as connection:
        for name, order, filters in lists:
            wanted = PageRequest(order_by=order)
            plan = await Store.queries.explain_page(connection, name, wanted, **filters)
            # Merchants are few, and a join may well read them all.
            if "Seq Scan on services" in plan or "Seq Scan on service_" in plan:
                reads[name, order, str(filters)] = plan
    assert not reads, "\n\n".join(f"{asked}:\n{plan}" for asked, plan in reads.items())


async def test_no_look_up_reads_a_whole_table(catalog: Catalog) -> None:
    await _fill(catalog)
    look_ups: list[tuple[str, dict[str, Any]]] = [
        ("find_service", {"service_id": SOMETHING, "owner_id": None}),
        ("find_service_by_slug", {"slug": "s-7"}),
        ("find_services", {"service_ids": [SOMETHING]}),
        ("find_snapshots", {"service_ids": [SOMETHING], "slugs": ["s-8"]}),
        ("find_newest_revisions", {"service_ids": [SOMETHING]}),
        ("find_open_revision", {"service_id": SOMETHING}),
        ("list_viewed_services", {"user_id": SOMEBODY}),
        ("lock_invitation_by_token", {"token_sha256": b"x" * 32}),
        ("list_due_snapshots", {"limit": 500}),
        ("list_active_snapshots", {"merchant_id": SOMEBODY, "after_id": SOMETHING, "limit": 500}),
        ("list_snapshots_to_write", {"after_id": SOMETHING, "limit": 500}),
        (
            "find_services_with_words",
            {"longest": "%number4%", "patterns": ["%number4%", "%a%"], "most": 1000},
        ),
    ]
    async with catalog.database.connection() as connection:
        for name, values in look_ups:
            if name in _DATED:
                values = values | {"now": catalog.clock()}
            plan = await Store.queries.explain(connection, name, **values)
            # Merchants are few, and a join may well read them all.
            assert "Seq Scan on services" not in plan and "Seq Scan on service_" not in plan, plan
