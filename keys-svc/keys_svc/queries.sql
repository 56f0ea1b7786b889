-- fragment: access_request_columns
access_request_id, consumer_id, service_id, merchant_id, status, note, reason, requested_at,
    resolved_at

-- fragment: key_columns
key_id, key_hash, key_prefix, consumer_id, name, description, ttl_days, created_at, expires_at,
    revoked_at, spend_cap_currency, spend_cap_amount, is_test, snapshot_version,
    ARRAY(SELECT service_id FROM key_services WHERE key_services.key_id = keys.key_id ORDER BY service_id)
        AS service_ids

-- fragment: consumer_columns
consumer_id, standing, standing_version, spend_cap_currency, spend_cap_amount

-- fragment: next_version
-- The clock pushes it on: after a restore from a backup no version comes back that a gateway has seen with
-- another snapshot. A clock that was set back doesn't matter.
greatest(snapshot_version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)

-- name: add_consumer
INSERT INTO consumers (consumer_id) VALUES (:consumer_id) ON CONFLICT DO NOTHING;

-- name: lock_consumer
SELECT {consumer_columns} FROM consumers WHERE consumer_id = :consumer_id FOR UPDATE;

-- name: find_consumers
SELECT {consumer_columns} FROM consumers WHERE consumer_id = ANY(:consumer_ids::uuid[]);

-- name: set_standing
UPDATE consumers SET standing = :standing, standing_version = :standing_version
WHERE consumer_id = :consumer_id;

-- name: set_spend_cap
UPDATE consumers SET spend_cap_currency = :spend_cap_currency, spend_cap_amount = :spend_cap_amount
WHERE consumer_id = :consumer_id;

-- name: add_access_request
-- No row when one for this service is pending already.
INSERT INTO access_requests (access_request_id, consumer_id, service_id, merchant_id, note, requested_at)
VALUES (:access_request_id, :consumer_id, :service_id, :merchant_id, :note, :requested_at)
ON CONFLICT (consumer_id, service_id) WHERE status = 'pending' DO NOTHING
RETURNING {access_request_columns};

-- name: lock_access_request
SELECT {access_request_columns} FROM access_requests
WHERE access_request_id = :access_request_id
FOR UPDATE;

-- name: resolve_access_request
UPDATE access_requests
SET status = :status, reason = :reason, resolved_at = :resolved_at, resolved_by = :resolved_by
WHERE access_request_id = :access_request_id AND status = 'pending'
RETURNING {access_request_columns};

-- name: list_access_requests
-- Oldest first: with the filter 'pending', who has waited longest stands on top.
-- order requested_at: timestamptz requested_at, uuid access_request_id
SELECT {access_request_columns}, {key} FROM access_requests
WHERE (:status::text IS NULL OR status = :status)
    AND (:consumer_id::uuid IS NULL OR consumer_id = :consumer_id)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_consumer_access_requests
-- order requested_at desc: timestamptz requested_at, uuid access_request_id
SELECT {access_request_columns}, {key} FROM access_requests
WHERE consumer_id = :consumer_id
    AND (:status::text IS NULL OR status = :status)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: is_granted
SELECT EXISTS (SELECT FROM grants WHERE consumer_id = :consumer_id AND service_id = :service_id);

-- name: add_grant
-- What an approved request gives, from the moment of its approval.
INSERT INTO grants (consumer_id, service_id, merchant_id, access_request_id, granted_at)
VALUES (:consumer_id, :service_id, :merchant_id, :access_request_id, :granted_at);

-- name: ungranted
SELECT wanted.service_id
FROM unnest(:service_ids::uuid[]) AS wanted (service_id)
WHERE NOT EXISTS (
    SELECT FROM grants WHERE grants.consumer_id = :consumer_id AND grants.service_id = wanted.service_id
);

-- name: granted_services
SELECT service_id FROM grants WHERE consumer_id = :consumer_id ORDER BY granted_at, service_id;

-- name: count_active_keys
SELECT count(*) FROM keys WHERE consumer_id = :consumer_id AND revoked_at IS NULL AND expires_at > :now;

-- name: add_key
INSERT INTO keys (key_id, key_hash, key_prefix, consumer_id, name, description, ttl_days, created_at,
    expires_at, spend_cap_currency, spend_cap_amount, is_test)
VALUES (:key_id, :key_hash, :key_prefix, :consumer_id, :name, :description, :ttl_days, :created_at,
    :expires_at, :spend_cap_currency, :spend_cap_amount, :is_test);

-- name: assign_services
INSERT INTO key_services (key_id, consumer_id, service_id)
SELECT :key_id, :consumer_id, unnest(:service_ids::uuid[]);

-- name: find_key
-- Somebody else's key is found as little as one that there isn't.
SELECT {key_columns} FROM keys
WHERE key_id = :key_id AND consumer_id = :consumer_id;

-- name: list_keys
-- Names sort by code points in lower case, the same on every server. Each order sorts one consumer's keys,
-- which are few: the index that finds them is enough.
-- order created_at desc: timestamptz created_at, uuid key_id
-- order expires_at: timestamptz expires_at, uuid key_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid key_id
SELECT {key_columns}, {key} FROM keys
WHERE consumer_id = :consumer_id
    AND concat_ws(' ', name, description, key_prefix) COLLATE pg_c_utf8 ILIKE ALL (:patterns::text[])
    -- As keys.status_of has it.
    AND (:status::text IS NULL OR :status = CASE WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN expires_at <= :now THEN 'expired' ELSE 'active' END)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_key_names
SELECT key_id, name FROM keys WHERE key_id = ANY(:key_ids::uuid[]);

-- name: live_keys
-- Neither revoked nor expired: those whose snapshots a gateway may still serve from.
SELECT {key_columns} FROM keys
WHERE consumer_id = :consumer_id AND revoked_at IS NULL AND expires_at > :now
ORDER BY created_at, key_id;

-- name: revoke_key
UPDATE keys SET revoked_at = :revoked_at
WHERE key_id = :key_id AND consumer_id = :consumer_id AND revoked_at IS NULL;

-- name: set_key_spend_cap
UPDATE keys SET spend_cap_currency = :spend_cap_currency, spend_cap_amount = :spend_cap_amount
WHERE key_id = :key_id;

-- name: renew_key
UPDATE keys SET snapshot_version = {next_version}
WHERE key_id = :key_id
RETURNING {key_columns};

-- name: renew_keys
UPDATE keys SET snapshot_version = {next_version}
WHERE consumer_id = :consumer_id;

-- name: find_keys_by_hash
SELECT {key_columns} FROM keys
WHERE key_hash = ANY(:key_hashes::bytea[]);

-- name: save_service
INSERT INTO services (service_id, name, slug) VALUES (:service_id, :name, :slug)
ON CONFLICT (service_id) DO UPDATE SET name = excluded.name, slug = excluded.slug;

-- name: find_service
SELECT service_id, name, slug FROM services WHERE service_id = :service_id;

-- name: save_price_version
-- A canceled one stays canceled, although older events are read again.
INSERT INTO price_versions (price_version_id, service_id, price, starts_at, canceled_at)
VALUES (:price_version_id, :service_id, :price::jsonb, :starts_at, :canceled_at)
ON CONFLICT (price_version_id)
DO UPDATE SET canceled_at = coalesce(price_versions.canceled_at, excluded.canceled_at);

-- name: find_price_before
SELECT price FROM price_versions
WHERE service_id = :service_id AND canceled_at IS NULL AND starts_at < :starts_at
ORDER BY starts_at DESC
LIMIT 1;

-- name: add_announcement
INSERT INTO price_announcements (price_version_id, service_id, is_canceled, message, announced_at)
VALUES (:price_version_id, :service_id, :is_canceled, :message, :announced_at)
ON CONFLICT (price_version_id, is_canceled) DO NOTHING;

-- name: lock_announcement
-- The oldest, and no other while somebody tells it: a consumer hears of a price before its cancellation.
SELECT announcement_id, price_version_id, service_id, is_canceled, message, announced_at, told_through
FROM price_announcements
WHERE finished_at IS NULL
ORDER BY announcement_id
LIMIT 1
FOR UPDATE;

-- name: list_granted_consumers
SELECT consumer_id FROM grants
WHERE service_id = :service_id AND consumer_id > :after_id
ORDER BY consumer_id
LIMIT :limit;

-- name: advance_announcement
UPDATE price_announcements SET told_through = :told_through, finished_at = :finished_at
WHERE announcement_id = :announcement_id;
