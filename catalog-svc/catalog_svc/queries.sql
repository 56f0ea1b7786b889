-- name: add_unknown_merchant
-- Every service has a merchant to join and to lock, even before identity-svc has told of it.
INSERT INTO merchants (merchant_id) VALUES (:merchant_id) ON CONFLICT DO NOTHING;

-- name: save_merchant
INSERT INTO merchants (merchant_id, display_name, slug)
VALUES (:merchant_id, :display_name, :slug)
ON CONFLICT (merchant_id) DO UPDATE SET display_name = excluded.display_name, slug = excluded.slug;

-- name: lock_standing
SELECT standing, standing_version FROM merchants WHERE merchant_id = :merchant_id FOR UPDATE;

-- name: set_standing
UPDATE merchants SET standing = :standing, standing_version = :standing_version
WHERE merchant_id = :merchant_id;

-- name: rename_merchant_in_services
UPDATE services SET merchant_name = :merchant_name
WHERE merchant_id = :merchant_id AND merchant_name <> :merchant_name;

-- name: lock_merchant
SELECT display_name FROM merchants WHERE merchant_id = :merchant_id FOR SHARE;

-- name: lock_merchant_of_service
SELECT merchant_id FROM merchants
WHERE merchant_id = (SELECT merchant_id FROM services WHERE service_id = :service_id) FOR SHARE;

-- name: lock_service
SELECT service_id FROM services
WHERE service_id = :service_id AND (:owner_id::uuid IS NULL OR merchant_id = :owner_id)
FOR UPDATE;

-- name: insert_service
-- No row: the slug is taken.
INSERT INTO services (
    service_id, merchant_id, slug, name, description, type, status, base_url, documentation_url, version,
    tags, rate_limit_per_minute, additional_info, draft_price_model, draft_price_currency,
    draft_price_amount, created_at, updated_at, merchant_name, first_byte_timeout_s, idle_timeout_s,
    total_timeout_s, max_connections, passes_cookies, cors_origins, allows_websockets, shows_costs,
    quota_per_day, quota_per_month
) VALUES (
    :service_id, :merchant_id, :slug, :name, :description, :type, :status, :base_url,
    :documentation_url, :version, :tags, :rate_limit_per_minute, :additional_info, :price_model,
    :price_currency, :price_amount, :now, :now, :merchant_name, :first_byte_timeout_s, :idle_timeout_s,
    :total_timeout_s, :max_connections, :passes_cookies, :cors_origins, :allows_websockets, :shows_costs,
    :quota_per_day, :quota_per_month
)
ON CONFLICT (slug) DO NOTHING
RETURNING service_id;

-- name: save_service
UPDATE services
SET name = :name, description = :description, base_url = :base_url, version = :version, tags = :tags,
    documentation_url = :documentation_url, rate_limit_per_minute = :rate_limit_per_minute,
    additional_info = :additional_info, status = :status, rejection_reason = :rejection_reason,
    draft_price_model = :price_model, draft_price_currency = :price_currency,
    draft_price_amount = :price_amount, price_version_id = :price_version_id,
    published_at = :published_at, updated_at = :updated_at,
    first_byte_timeout_s = :first_byte_timeout_s, idle_timeout_s = :idle_timeout_s,
    total_timeout_s = :total_timeout_s, max_connections = :max_connections,
    passes_cookies = :passes_cookies, cors_origins = :cors_origins,
    allows_websockets = :allows_websockets, shows_costs = :shows_costs,
    quota_per_day = :quota_per_day, quota_per_month = :quota_per_month,
    credential_header_name = :credential_header_name, sealed_credential = :sealed_credential,
    credential_set_at = :credential_set_at,
    signing_key_id = :signing_key_id, sealed_signing_key = :sealed_signing_key,
    signing_key_created_at = :signing_key_created_at,
    previous_signing_key_id = :previous_signing_key_id,
    previous_signing_key_created_at = :previous_signing_key_created_at
WHERE service_id = :service_id;

-- name: insert_price_version
INSERT INTO price_versions (price_version_id, service_id, model, currency, amount, starts_at)
VALUES (:price_version_id, :service_id, :model, :currency, :amount, :starts_at);

-- name: find_service
SELECT * FROM service_details
WHERE service_id = :service_id AND (:owner_id::uuid IS NULL OR merchant_id = :owner_id);

-- name: find_service_by_slug
SELECT * FROM service_details WHERE slug = :slug;

-- fragment: next_version
-- The clock pushes it on: after a restore from a backup no version comes back that a gateway has seen with
-- another snapshot. A clock that was set back doesn't matter.
greatest(snapshot_version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)

-- name: renew_snapshot
UPDATE services SET snapshot_version = {next_version}
WHERE service_id = :service_id;

-- name: renew_snapshots
UPDATE services SET snapshot_version = {next_version}
WHERE merchant_id = :merchant_id;

-- name: find_snapshots
SELECT service_details.*, services.snapshot_version
FROM services JOIN service_details USING (service_id)
WHERE services.service_id = ANY(:service_ids::uuid[]) OR services.slug = ANY(:slugs::text[]);

-- name: list_services
-- Names sort by code points in lower case: the same on every server, and no update of a library ever
-- reorders (and so breaks) their indexes, as it does with a locale's collation.
-- order created_at desc: timestamptz created_at, uuid service_id
-- order updated_at: timestamptz updated_at, uuid service_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid service_id
-- order status: text status COLLATE pg_c_utf8, uuid service_id
SELECT *, {key} FROM service_details
WHERE (:status::text IS NULL OR status = :status)
  AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
  AND concat_ws(' ', name, slug, description, merchant_name) COLLATE pg_c_utf8 ILIKE ALL (:patterns::text[])
  AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_active_snapshots
-- A merchant's, a batch at a time by id.
SELECT service_details.*, services.snapshot_version
FROM services JOIN service_details USING (service_id)
WHERE services.merchant_id = :merchant_id AND services.status = 'active' AND services.service_id > :after_id
ORDER BY services.service_id
LIMIT :limit;

-- name: list_marketplace
-- order published_at desc: timestamptz published_at, uuid service_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid service_id
SELECT *, {key} FROM service_details
WHERE status = 'active' AND merchant_standing = 'active' AND tags @> :tags::text[]
  AND (:type::text IS NULL OR type = :type)
  AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
  AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: search_marketplace
-- order published_at desc: timestamptz published_at, uuid service_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid service_id
-- The words first and by themselves: beside ORDER BY and LIMIT the planner takes a rare word for a
-- common one, and would walk through the whole marketplace for it.
WITH matches AS MATERIALIZED (
    SELECT service_id FROM services WHERE status = 'active' AND search @@ words_query(:words)
)
SELECT service_details.*, {key} FROM matches JOIN service_details USING (service_id)
WHERE merchant_standing = 'active' AND tags @> :tags::text[]
  AND (:type::text IS NULL OR type = :type)
  AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
  AND {after}
ORDER BY {order}
LIMIT :limit;
