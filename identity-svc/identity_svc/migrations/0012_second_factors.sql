-- What proves, beside the address, that somebody is who they say. A session knows when that was last proven.
ALTER TABLE sessions ADD COLUMN second_factor_at timestamptz;

CREATE TABLE passkeys (
    passkey_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    name text NOT NULL,
    credential_id bytea NOT NULL UNIQUE,
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz
);
CREATE INDEX passkeys_by_user ON passkeys (user_id, created_at);

CREATE TABLE totp_secrets (
    user_id uuid PRIMARY KEY REFERENCES users,
    sealed_secret bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Null until a code of it was given: nothing is asked of it before.
    confirmed_at timestamptz,
    -- The last time step of which a code was taken: each is good once.
    last_step bigint NOT NULL DEFAULT 0
);

CREATE TABLE recovery_codes (
    user_id uuid NOT NULL REFERENCES users,
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    used_at timestamptz,
    PRIMARY KEY (user_id, code_hash)
);

-- A second factor that is asked for, or a passkey that is being made.
CREATE TABLE factor_challenges (
    challenge_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    purpose text NOT NULL CHECK (purpose IN ('sign_in', 'step_up', 'add_passkey')),
    -- Of signing in: the role that was wanted. Of the others: whose session asks.
    active_role text CHECK (active_role IN ('admin', 'merchant', 'consumer')),
    session_id uuid REFERENCES sessions ON DELETE CASCADE,
    webauthn_challenge bytea NOT NULL,
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 5),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CHECK ((purpose = 'sign_in') = (session_id IS NULL))
);
CREATE INDEX factor_challenges_by_creation ON factor_challenges (created_at);
CREATE INDEX factor_challenges_by_session ON factor_challenges (session_id);
