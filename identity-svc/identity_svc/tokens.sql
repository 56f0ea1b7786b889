-- Personal access tokens

-- fragment: token_columns
token_id, name, token_prefix, role, is_read_only, created_at, expires_at, last_used_at, revoked_at

-- name: lock_user
-- Until the commit nobody else makes tokens for the person.
SELECT user_id FROM users WHERE user_id = :user_id FOR NO KEY UPDATE;

-- name: count_good_tokens
SELECT count(*) FROM personal_access_tokens
WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > :now;

-- name: insert_token
INSERT INTO personal_access_tokens
    (token_id, user_id, name, token_prefix, token_hash, role, is_read_only, created_at, expires_at, second_factor_at)
VALUES (
    :token_id, :user_id, :name, :token_prefix, :token_hash, :role, :is_read_only, :now, :expires_at,
    (SELECT second_factor_at FROM sessions WHERE session_id = :session_id::uuid AND user_id = :user_id)
)
RETURNING {token_columns};

-- name: list_tokens
-- order created_at desc: timestamptz created_at, uuid token_id
SELECT {token_columns}, {key} FROM personal_access_tokens
WHERE user_id = :user_id AND {after}
ORDER BY {order} LIMIT :limit;

-- name: find_token
SELECT {token_columns} FROM personal_access_tokens WHERE token_id = :token_id AND user_id = :user_id;

-- name: revoke_token
UPDATE personal_access_tokens SET revoked_at = :now
WHERE token_id = :token_id AND user_id = :user_id AND revoked_at IS NULL;

-- name: find_good_token
SELECT token_id, user_id, role, is_read_only, expires_at, last_used_at, second_factor_at FROM personal_access_tokens
WHERE token_hash = :token_hash AND revoked_at IS NULL AND expires_at > :now;

-- name: use_token
UPDATE personal_access_tokens SET last_used_at = :now WHERE token_id = :token_id;
