-- fragment: key_columns
key_id, key_hash, key_prefix, consumer_id, project_id, created_by, name, description, ttl_days, created_at,
    expires_at, revoked_at, disabled_at, rotated_at, allowed_networks, spend_cap_currency, spend_cap_amount,
    is_test, snapshot_version,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'service_id', facts.service_id, 'has_access', facts.ended_at IS NULL,
        'is_revoked', facts.revoked_at IS NOT NULL, 'is_blocked', facts.blocked_at IS NOT NULL,
        'is_for_maker', keys.project_id IS NULL OR EXISTS (
            SELECT FROM project_members AS makers
            WHERE makers.project_id = keys.project_id AND makers.user_id = keys.created_by
                AND (makers.service_ids = '{}' OR facts.service_id = ANY(makers.service_ids))
        ),
        'allowed_calls', facts.allowed_calls, 'per_minute', facts.per_minute, 'per_day', facts.per_day,
        'per_month', facts.per_month
    ) ORDER BY facts.service_id), '[]')
    FROM key_service_facts AS facts WHERE facts.key_id = keys.key_id) AS services,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'key_hash', encode(previous.key_hash, 'hex'), 'key_prefix', previous.key_prefix, 'ends_at', previous.ends_at
    ) ORDER BY previous.ends_at), '[]')
    FROM previous_secrets AS previous
    WHERE previous.key_id = keys.key_id AND previous.ends_at > now() - interval '1 day') AS previous,
    (SELECT caps.spend_cap_currency FROM project_spend_caps AS caps
    WHERE caps.project_id = keys.project_id) AS project_spend_cap_currency,
    (SELECT caps.spend_cap_amount FROM project_spend_caps AS caps
    WHERE caps.project_id = keys.project_id) AS project_spend_cap_amount

-- fragment: seen
-- Who may see a key: whose it is, or who is in its project in any role (ProjectRight.SEE_KEYS).
CASE WHEN project_id IS NULL THEN consumer_id = :user_id ELSE EXISTS (
    SELECT FROM project_members AS seers
    WHERE seers.project_id = keys.project_id AND seers.user_id = :user_id
) END

-- fragment: consumer_columns
consumer_id, standing, standing_version, spend_cap_currency, spend_cap_amount, disables_found_keys

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

-- name: find_project_spend_cap
SELECT spend_cap_currency, spend_cap_amount FROM project_spend_caps
WHERE project_id = :project_id AND spend_cap_currency IS NOT NULL;

-- name: set_project_spend_cap
INSERT INTO project_spend_caps (project_id, spend_cap_currency, spend_cap_amount)
VALUES (:project_id, :spend_cap_currency, :spend_cap_amount)
ON CONFLICT (project_id) DO UPDATE
SET spend_cap_currency = excluded.spend_cap_currency, spend_cap_amount = excluded.spend_cap_amount;

-- name: count_active_keys
SELECT count(*) FROM keys WHERE holder_id = :holder_id AND revoked_at IS NULL AND expires_at > :now;

-- name: add_key
INSERT INTO keys (key_id, key_hash, key_prefix, consumer_id, project_id, created_by, name, description, ttl_days,
    created_at, expires_at, allowed_networks, spend_cap_currency, spend_cap_amount, is_test)
VALUES (:key_id, :key_hash, :key_prefix, :consumer_id, :project_id, :created_by, :name, :description, :ttl_days,
    :created_at, :expires_at, :allowed_networks, :spend_cap_currency, :spend_cap_amount, :is_test);

-- name: assign_services
-- By the grants in force. What is assigned already stays as it is, but for a grant that has ended since.
INSERT INTO key_services (key_id, holder_id, service_id, grant_id, assigned_at)
SELECT :key_id, :holder_id, grants.service_id, grants.grant_id, :assigned_at
FROM grants
WHERE grants.holder_id = :holder_id AND grants.service_id = ANY(:service_ids::uuid[]) AND grants.ended_at IS NULL
ON CONFLICT (key_id, service_id) DO UPDATE SET grant_id = excluded.grant_id;

-- name: unassign_services
-- All but these, and but what a merchant has taken: that it is taken must not be forgotten.
DELETE FROM key_services
WHERE key_id = :key_id AND revoked_at IS NULL AND service_id <> ALL(:service_ids::uuid[]);

-- name: find_key
-- A key that somebody else sees is found as little as one that there isn't.
SELECT {key_columns} FROM keys
WHERE key_id = :key_id AND {seen};

-- name: find_keys
SELECT {key_columns} FROM keys
WHERE key_id = ANY(:key_ids::uuid[])
ORDER BY key_id;

-- name: find_seen_keys
SELECT {key_columns} FROM keys
WHERE key_id = ANY(:key_ids::uuid[]) AND {seen};

-- name: list_keys
-- Names sort by code points in lower case, the same on every server. Each order sorts the keys of a few holders,
-- which are few: the index that finds them is enough.
-- order created_at desc: timestamptz created_at, uuid key_id
-- order expires_at: timestamptz expires_at, uuid key_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid key_id
SELECT {key_columns}, {key} FROM keys
WHERE holder_id = ANY(:holder_ids::uuid[])
    AND concat_ws(' ', name, description, key_prefix) COLLATE pg_c_utf8 ILIKE ALL (:patterns::text[])
    -- As keys.status_of has it.
    AND (:status::text IS NULL OR :status = CASE WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN expires_at <= :now THEN 'expired' WHEN disabled_at IS NOT NULL THEN 'disabled' ELSE 'active' END)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_key_names
SELECT key_id, name FROM keys WHERE key_id = ANY(:key_ids::uuid[]);

-- name: list_keys_of_consumer
-- order created_at desc: timestamptz created_at, uuid key_id
SELECT {key_columns}, {key} FROM keys
WHERE consumer_id = :consumer_id AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: live_keys
-- Neither revoked nor expired: those whose snapshots a gateway may still serve from.
SELECT {key_columns} FROM keys
WHERE consumer_id = :consumer_id AND revoked_at IS NULL AND expires_at > :now
ORDER BY created_at, key_id;

-- name: live_project_keys
SELECT {key_columns} FROM keys
WHERE project_id = :project_id AND revoked_at IS NULL AND expires_at > :now
ORDER BY created_at, key_id;

-- name: revoke_key
UPDATE keys SET revoked_at = :revoked_at
WHERE key_id = :key_id AND revoked_at IS NULL;

-- name: revoke_project_keys
-- Those of a project that nobody who is in it has made; with nobody, all.
UPDATE keys SET revoked_at = :revoked_at
WHERE project_id = :project_id AND created_by <> ALL(:member_ids::uuid[]) AND revoked_at IS NULL
RETURNING key_id;

-- name: hand_over_keys
UPDATE keys SET consumer_id = :consumer_id WHERE project_id = :project_id;

-- name: describe_key
UPDATE keys SET name = :name, description = :description WHERE key_id = :key_id;

-- name: set_allowed_networks
UPDATE keys SET allowed_networks = :allowed_networks WHERE key_id = :key_id;

-- name: set_allowed_calls
UPDATE key_services SET allowed_calls = :allowed_calls::jsonb
WHERE key_id = :key_id AND service_id = :service_id;

-- name: set_disabled
UPDATE keys SET disabled_at = :disabled_at WHERE key_id = :key_id;

-- name: keep_previous_secret
INSERT INTO previous_secrets (key_hash, key_id, key_prefix, replaced_at, ends_at)
VALUES (:key_hash, :key_id, :key_prefix, :replaced_at, :ends_at);

-- name: end_previous_secrets
UPDATE previous_secrets SET ends_at = greatest(:ends_at, replaced_at)
WHERE key_id = :key_id AND ends_at > :ends_at;

-- name: replace_secret
UPDATE keys SET key_hash = :key_hash, key_prefix = :key_prefix, rotated_at = :rotated_at WHERE key_id = :key_id;

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

-- name: renew_project_keys
UPDATE keys SET snapshot_version = {next_version}
WHERE project_id = :project_id;

-- name: find_keys_by_hash
SELECT {key_columns} FROM keys
WHERE key_hash = ANY(:key_hashes::bytea[]);

-- name: find_previous_secrets
SELECT key_hash, key_id, key_prefix, ends_at FROM previous_secrets
WHERE key_hash = ANY(:key_hashes::bytea[]);

-- name: list_keys_to_write
-- For rebuilding snapshots: whatever a gateway may still hold, and what a copy in Redis may say of it.
SELECT {key_columns} FROM keys
WHERE key_id > :after_id
ORDER BY key_id
LIMIT :limit;

-- name: memberships_of
SELECT project_id, role, service_ids FROM project_members WHERE user_id = :user_id;

-- name: save_service
-- What is of the past changes nothing: a dead letter is replayed after what came later.
INSERT INTO services (service_id, name, slug, merchant_id, changed_at)
VALUES (:service_id, :name, :slug, :merchant_id, :changed_at)
ON CONFLICT (service_id) DO UPDATE
SET name = excluded.name, slug = excluded.slug, merchant_id = excluded.merchant_id,
    changed_at = excluded.changed_at
WHERE services.changed_at <= excluded.changed_at;

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
SELECT DISTINCT consumer_id FROM grants
WHERE service_id = :service_id AND consumer_id > :after_id AND ended_at IS NULL
ORDER BY consumer_id
LIMIT :limit;

-- name: advance_announcement
UPDATE price_announcements SET told_through = :told_through, finished_at = :finished_at
WHERE announcement_id = :announcement_id;

-- name: take_keys_with_notice_due
-- Sets when the notice after it is due. Of several processes each takes its own; a key that is being changed waits for
-- the next time.
UPDATE keys SET next_notice_at = (
    SELECT min(keys.expires_at - days * interval '24 hours') FROM unnest(:days_ahead::integer[]) AS ahead (days)
    WHERE keys.expires_at - days * interval '24 hours' > :now
)
WHERE key_id IN (
    SELECT key_id FROM keys WHERE revoked_at IS NULL AND next_notice_at <= :now
    ORDER BY next_notice_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING {key_columns};
