-- People, how they prove who they are, and what is told of it.

CREATE TABLE users (
    user_id uuid PRIMARY KEY,
    -- Normalised (ASCII letters in lower case), so that uniqueness doesn't depend on how it was typed.
    email text NOT NULL UNIQUE CHECK (email = lower(email COLLATE "C")),
    name text NOT NULL,
    created_at timestamptz NOT NULL
);

-- One account may hold several roles; the row of a role holds its standing, and nothing else does.
CREATE TABLE user_roles (
    user_id uuid NOT NULL REFERENCES users,
    role text NOT NULL CHECK (role IN ('admin', 'merchant', 'consumer')),
    standing text NOT NULL DEFAULT 'active',
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, role),
    CHECK (
        standing = 'active'
        OR (role = 'merchant' AND standing = 'suspended')
        OR (role = 'consumer' AND standing = 'blocked')
    )
);
CREATE INDEX user_roles_by_role ON user_roles (role, granted_at DESC, user_id DESC);

CREATE TABLE merchant_profiles (
    user_id uuid PRIMARY KEY,
    role text NOT NULL DEFAULT 'merchant' CHECK (role = 'merchant'),
    company_name text NOT NULL,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    FOREIGN KEY (user_id, role) REFERENCES user_roles (user_id, role)
);

CREATE TABLE invites (
    invite_id uuid PRIMARY KEY,
    email text NOT NULL,
    code_hash bytea NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    note text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz,
    accepted_by uuid REFERENCES users,
    CHECK ((accepted_at IS NULL) = (accepted_by IS NULL))
);
CREATE INDEX invites_by_creation ON invites (created_at DESC, invite_id DESC);

-- A mailed one-time code, until it is proven or expires. Unknown addresses get rows as well.
CREATE TABLE challenges (
    challenge_id uuid PRIMARY KEY,
    purpose text NOT NULL CHECK (purpose IN ('sign_in', 'register_consumer', 'register_merchant')),
    email text NOT NULL,
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 5),
    name text,
    company_name text,
    invite_id uuid REFERENCES invites,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CHECK ((purpose = 'sign_in') = (name IS NULL)),
    CHECK ((purpose = 'register_merchant') = (invite_id IS NOT NULL AND company_name IS NOT NULL))
);
CREATE INDEX challenges_by_email ON challenges (email, created_at);
CREATE INDEX challenges_by_creation ON challenges (created_at);

CREATE TABLE sessions (
    session_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    active_role text CHECK (active_role IN ('admin', 'merchant', 'consumer')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_by_end ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Used ones stay for a while: presenting one again ends its session.
CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_use ON refresh_tokens (used_at) WHERE used_at IS NOT NULL;
-- However the code races: a session never has two tokens that are good.
CREATE UNIQUE INDEX refresh_tokens_one_good ON refresh_tokens (session_id) WHERE used_at IS NULL;

-- What signs access tokens. A key is published before it signs (active_from).
CREATE TABLE signing_keys (
    key_id text PRIMARY KEY,
    sealed_private_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    active_from timestamptz NOT NULL
);

-- Mail on its way out. What it says is sealed, and gone as soon as it is sent or given up.
CREATE TABLE mails (
    mail_id uuid PRIMARY KEY,
    recipient text NOT NULL,
    template text NOT NULL,
    sealed_values bytea,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'sent', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    give_up_at timestamptz NOT NULL,
    finished_at timestamptz,
    last_error text,
    CHECK ((status = 'queued') = (sealed_values IS NOT NULL)),
    CHECK ((status = 'queued') = (finished_at IS NULL))
);
CREATE INDEX mails_queued ON mails (next_attempt_at) WHERE status = 'queued';
CREATE INDEX mails_finished ON mails (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE audit_records (
    audit_id uuid PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    resource text NOT NULL,
    resource_id text NOT NULL,
    details jsonb NOT NULL,
    request_id text NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_records_by_time ON audit_records (occurred_at DESC, audit_id DESC);
CREATE INDEX audit_records_by_actor ON audit_records (actor, occurred_at DESC, audit_id DESC);
CREATE INDEX audit_records_by_action ON audit_records (action, occurred_at DESC, audit_id DESC);
CREATE INDEX audit_records_by_resource ON audit_records (resource_id, occurred_at DESC, audit_id DESC);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_records_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
