-- name: find_settings
-- Those in force; no row while nobody has changed any.
SELECT version, settings FROM platform_settings ORDER BY version DESC LIMIT 1;

-- name: lock_settings
-- Before they are read for a change: of two at once the second decides on what the first has made.
SELECT pg_advisory_xact_lock(hashtextextended('platform settings of ' || current_schema(), 0));

-- name: insert_settings
INSERT INTO platform_settings (version, settings, changed_by, changed_at, reason)
VALUES (:version, :settings::jsonb, :changed_by, :now, :reason);

-- name: list_settings
-- Each with those that were in force before.
-- order version desc: numeric s.version::numeric, uuid s.changed_by
SELECT s.version, s.settings, s.changed_by, coalesce(u.name, '') AS changed_by_name, s.changed_at, s.reason,
       earlier.settings AS earlier, {key}
FROM platform_settings s LEFT JOIN users u ON u.user_id = s.changed_by
    LEFT JOIN platform_settings earlier ON earlier.version = s.version - 1
WHERE {after}
ORDER BY {order} LIMIT :limit;
