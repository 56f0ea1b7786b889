"""Prices that were stored per request are the same prices in their new form."""

import asyncpg
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.migrations import migrate, migrations_of
from ams_common.prices import price_from_message
from ams_common.testing.neighbours import schemas
from catalog_svc.store import Store
from catalog_svc.testing import price

_MIGRATIONS = """
CREATE TABLE migrations
    (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""
_SERVICES = """
INSERT INTO merchants (merchant_id) VALUES (gen_random_uuid());
INSERT INTO services (service_id, merchant_id, slug, name, description, type, status, base_url,
    documentation_url, version, tags, rate_limit_per_minute, additional_info, draft_price_model,
    draft_price_currency, draft_price_amount, created_at, updated_at, merchant_name)
SELECT gen_random_uuid(), merchant_id, chosen, 'Name', 'Words', 'api', 'draft', 'https://a.example', '', '1',
    '{}', 0, '', 'per_request', 'EUR', 0.0035, now(), now(), ''
FROM merchants, unnest(ARRAY['one', 'two']) AS chosen;
INSERT INTO price_versions SELECT gen_random_uuid(), service_id, 'per_request', 'JPY', 1000000, now()
FROM services WHERE slug = 'two';
UPDATE services SET status = 'active', published_at = now(), draft_price_model = NULL,
    draft_price_currency = NULL, draft_price_amount = NULL,
    price_version_id = (SELECT price_version_id FROM price_versions)
WHERE slug = 'two';
"""


async def test_drafts_and_versions_keep_their_prices(admin_database_url: str) -> None:
    async with schemas(admin_database_url, "catalog") as urls:
        connection = await asyncpg.connect(urls["catalog"])
        await connection.execute(_MIGRATIONS)
        before = [each for each in migrations_of("catalog_svc") if each.name < "catalog_svc/0005"]
        for migration in (*migrations_of("ams_common"), *before):
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
            )
        await connection.execute(_SERVICES)
        [version] = await connection.fetch("SELECT price_version_id, starts_at FROM price_versions")
        await connection.close()

        await migrate(urls["catalog"], "catalog_svc")
        async with Database.open(urls["catalog"], Store) as database, database.read() as store:
            draft = await store.find_service_by_slug(slug="one", now=utc_now())
            active = await store.find_service_by_slug(slug="two", now=utc_now())
            assert draft is not None and active is not None
            assert (draft.price, draft.price_version_id) == (price_from_message(price("0.0035", "EUR")), None)
            assert active.price == price_from_message(price("1000000", "JPY"))
            assert active.price_version_id == version["price_version_id"]
            [kept] = await store.list_price_versions(service_id=active.service_id, limit=5)
            assert kept.starts_at == kept.created_at == version["starts_at"]
