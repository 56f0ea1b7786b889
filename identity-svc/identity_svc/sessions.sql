-- Where somebody is signed in, and access tokens that end before their time

-- name: list_sessions
-- order created_at desc: timestamptz created_at, uuid session_id
SELECT session_id, device, client_address, created_at, last_used_at, expires_at, {key} FROM sessions
WHERE user_id = :user_id AND ended_at IS NULL AND expires_at > :now AND {after}
ORDER BY {order} LIMIT :limit;

-- name: end_session
-- No row: it has ended before, or is somebody else's.
UPDATE sessions SET ended_at = :now
WHERE session_id = :session_id AND user_id = :user_id AND ended_at IS NULL AND expires_at > :now;

-- name: end_sessions
-- All of a person but one, if that is given; in one order, whoever ends them.
UPDATE sessions SET ended_at = :now WHERE session_id IN (
    SELECT session_id FROM sessions
    WHERE user_id = :user_id AND ended_at IS NULL AND expires_at > :now
      AND session_id IS DISTINCT FROM :except_session_id::uuid
    ORDER BY session_id FOR NO KEY UPDATE
)
RETURNING session_id;

-- name: raise_generation
UPDATE users SET token_generation = token_generation + 1 WHERE user_id = :user_id RETURNING token_generation;

-- name: lock_versions
-- The lock of standing versions: until the commit nobody else draws either, so that versions become visible in
-- their order, and who draws both never waits for who holds the other.
SELECT pg_advisory_xact_lock(hashtextextended('standing versions of ' || current_schema(), 0));

-- name: insert_token_end
-- The clock pushes the versions on, as it does those of standings (queries.sql).
INSERT INTO token_ends (version, ended_at, credential, user_id, generation)
VALUES (
    setval('token_end_versions', greatest(
        nextval('token_end_versions'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    )),
    :now, :credential, :user_id, :generation
)
RETURNING version, ended_at, credential, user_id, generation;

-- name: list_token_ends
SELECT version, ended_at, credential, user_id, generation FROM token_ends
WHERE version > :after_version
ORDER BY version
LIMIT :limit;
