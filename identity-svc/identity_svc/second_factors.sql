-- Second factors

-- name: list_passkeys
SELECT passkey_id, name, credential_id, public_key, sign_count, created_at, last_used_at FROM passkeys
WHERE user_id = :user_id ORDER BY created_at, passkey_id;

-- name: insert_passkey
-- No row: it is somebody's already.
INSERT INTO passkeys (passkey_id, user_id, name, credential_id, public_key, sign_count, created_at)
VALUES (:passkey_id, :user_id, :name, :credential_id, :public_key, :sign_count, :now)
ON CONFLICT (credential_id) DO NOTHING;

-- name: use_passkey
UPDATE passkeys SET sign_count = :sign_count, last_used_at = :now WHERE passkey_id = :passkey_id;

-- name: delete_passkey
DELETE FROM passkeys WHERE passkey_id = :passkey_id AND user_id = :user_id RETURNING name;

-- name: find_totp
SELECT sealed_secret, confirmed_at, last_step FROM totp_secrets WHERE user_id = :user_id FOR UPDATE;

-- name: put_totp
-- In place of one that was never confirmed. No row: there is a confirmed one.
INSERT INTO totp_secrets AS held (user_id, sealed_secret, created_at) VALUES (:user_id, :sealed_secret, :now)
ON CONFLICT (user_id) DO UPDATE SET sealed_secret = excluded.sealed_secret, created_at = excluded.created_at
WHERE held.confirmed_at IS NULL;

-- name: use_totp
UPDATE totp_secrets SET last_step = :step, confirmed_at = coalesce(confirmed_at, :now) WHERE user_id = :user_id;

-- name: delete_totp
DELETE FROM totp_secrets WHERE user_id = :user_id;

-- name: insert_recovery_codes
INSERT INTO recovery_codes (user_id, code_hash) SELECT :user_id, unnest(:code_hashes::bytea[]);

-- name: delete_recovery_codes
DELETE FROM recovery_codes WHERE user_id = :user_id;

-- name: use_recovery_code
UPDATE recovery_codes SET used_at = :now
WHERE user_id = :user_id AND code_hash = :code_hash AND used_at IS NULL;

-- name: find_factors
SELECT (SELECT count(*) FROM passkeys WHERE user_id = :user_id) AS passkeys,
       EXISTS (SELECT 1 FROM totp_secrets WHERE user_id = :user_id AND confirmed_at IS NOT NULL) AS has_totp,
       (SELECT count(*) FROM recovery_codes WHERE user_id = :user_id AND used_at IS NULL) AS recovery_codes;

-- name: lock_user
-- Until the commit nobody else changes the person's factors. FOR UPDATE would also keep away whoever begins a
-- session of theirs (its foreign key), who may hold a factor that is about to be changed.
SELECT user_id FROM users WHERE user_id = :user_id FOR NO KEY UPDATE;

-- name: insert_factor_challenge
INSERT INTO factor_challenges
    (challenge_id, user_id, purpose, active_role, session_id, webauthn_challenge, created_at, expires_at)
VALUES (:challenge_id, :user_id, :purpose, :active_role, :session_id, :webauthn_challenge, :now, :expires_at);

-- name: spend_factor_attempt
-- Counts the attempt before the proof is looked at, and locks the row, as with mailed codes.
UPDATE factor_challenges SET attempts = attempts + 1
WHERE challenge_id = :challenge_id AND purpose = :purpose AND used_at IS NULL AND expires_at > :now
  AND attempts < :max_attempts AND session_id IS NOT DISTINCT FROM :session_id::uuid
RETURNING challenge_id, user_id, active_role, webauthn_challenge;

-- name: use_factor_challenge
UPDATE factor_challenges SET used_at = :now WHERE challenge_id = :challenge_id;

-- name: prove_session
UPDATE sessions SET second_factor_at = :now WHERE session_id = :session_id;

-- name: proven_at
SELECT second_factor_at FROM sessions WHERE session_id = :session_id;
