-- Codes, what may be asked and guessed, and how often it was tried

-- name: spend_allowances
-- In the order of the keys, so that two never wait for each other. Whoever finds one overdrawn rolls back.
INSERT INTO allowances AS held (allowance_key, full_at)
SELECT wanted.key, :now::timestamptz + wanted.refill
FROM unnest(:keys::bytea[], :refills::interval[]) AS wanted (key, refill) ORDER BY wanted.key
ON CONFLICT (allowance_key) DO UPDATE
SET full_at = greatest(held.full_at, :now::timestamptz) + (excluded.full_at - :now::timestamptz)
RETURNING allowance_key, full_at;

-- name: give_back_allowance
UPDATE allowances SET full_at = full_at - :refill::interval WHERE allowance_key = :allowance_key;

-- name: is_touched
SELECT EXISTS (SELECT 1 FROM allowances WHERE allowance_key = :allowance_key AND full_at > :now);

-- name: insert_code
INSERT INTO codes (code_id, email, purpose, sealed_code, created_at, expires_at)
VALUES (:code_id, :email, :purpose, :sealed_code, :now, :expires_at);

-- name: find_open_code
SELECT code_id, sealed_code, expires_at FROM codes
WHERE email = :email AND purpose = :purpose AND used_at IS NULL AND expires_at > :good_until
ORDER BY created_at DESC LIMIT 1;

-- name: use_code
-- No row: another challenge of it was quicker.
UPDATE codes SET used_at = :now WHERE code_id = :code_id AND used_at IS NULL;

-- name: count_tries
INSERT INTO sign_in_tries AS held (hour, outcome, tries)
SELECT wanted.hour, wanted.outcome, wanted.tries
FROM unnest(:hours::timestamptz[], :outcomes::text[], :tries::bigint[]) AS wanted (hour, outcome, tries)
ORDER BY wanted.hour, wanted.outcome
ON CONFLICT (hour, outcome) DO UPDATE SET tries = held.tries + excluded.tries;

-- name: list_tries
-- order hour desc: timestamptz hour, text outcome
SELECT hour, outcome, tries, {key} FROM sign_in_tries
WHERE {after}
ORDER BY {order} LIMIT :limit;
