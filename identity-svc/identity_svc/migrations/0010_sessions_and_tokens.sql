-- Where somebody is signed in: what the browser or program called itself and where it was, when last used.
ALTER TABLE sessions ADD COLUMN device text NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN client_address text NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN last_used_at timestamptz;
UPDATE sessions SET last_used_at = created_at;
CREATE INDEX sessions_by_user ON sessions (user_id, created_at DESC, session_id DESC);

-- Of a person's access tokens: one that was given out with a lower number ends. It grows when something changes
-- that tokens say, and depends on no clock.
ALTER TABLE users ADD COLUMN token_generation integer NOT NULL DEFAULT 0;

-- Access tokens that end before their time, in an order that others can follow; kept for as long as such a token
-- could be shown.
CREATE SEQUENCE token_end_versions;
CREATE TABLE token_ends (
    version bigint PRIMARY KEY,
    ended_at timestamptz NOT NULL,
    credential text,
    user_id uuid REFERENCES users,
    generation integer,
    CHECK ((credential IS NULL) = (user_id IS NOT NULL)),
    CHECK ((user_id IS NULL) = (generation IS NULL))
);
CREATE INDEX token_ends_by_age ON token_ends (ended_at);

-- What scripts call with: only the secret's hash is kept, and its beginning to tell tokens apart.
CREATE TABLE personal_access_tokens (
    token_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    name text NOT NULL,
    token_prefix text NOT NULL,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    role text NOT NULL CHECK (role IN ('admin', 'merchant', 'consumer')),
    is_read_only boolean NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX personal_access_tokens_by_user ON personal_access_tokens (user_id, created_at DESC, token_id DESC);
CREATE INDEX personal_access_tokens_by_expiry ON personal_access_tokens (expires_at);
