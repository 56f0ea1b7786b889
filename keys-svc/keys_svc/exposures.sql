-- Keys whose secrets were found in public.

-- name: add_exposure
-- No row for a secret that was reported of that place before.
INSERT INTO exposures (exposure_id, key_id, key_hash, found_at, exposed_since, reported_at, has_disabled)
VALUES (:exposure_id, :key_id, :key_hash, :found_at, :exposed_since, :reported_at, :has_disabled)
ON CONFLICT (key_hash, found_at) DO NOTHING
RETURNING exposure_id;

-- name: list_exposures
SELECT exposure_id, key_id, found_at, exposed_since, reported_at, has_disabled FROM exposures
WHERE key_id = :key_id
ORDER BY reported_at DESC, exposure_id
LIMIT 100;

-- name: list_untold_exposures
SELECT exposure_id, key_id, found_at, exposed_since, reported_at, has_disabled FROM exposures
WHERE told_at IS NULL
ORDER BY reported_at, exposure_id
LIMIT 100;

-- name: mark_told
UPDATE exposures SET told_at = :told_at WHERE exposure_id = :exposure_id AND told_at IS NULL;

-- name: set_exposure_choice
UPDATE consumers SET disables_found_keys = :disables_found_keys WHERE consumer_id = :consumer_id;
