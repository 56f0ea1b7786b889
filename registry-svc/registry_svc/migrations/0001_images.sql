-- What identity.events tells of merchants: the first part of their repositories' names.
CREATE TABLE merchants (
    merchant_id uuid PRIMARY KEY,
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$')
);

-- Where a service's images lie: "<merchant slug>/<service slug>". Fixed when its first push token is made,
-- for what consumers have written into their own files must not change.
CREATE TABLE repositories (
    service_id uuid PRIMARY KEY,
    merchant_id uuid NOT NULL,
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*$'),
    UNIQUE (service_id, merchant_id)
);

CREATE TABLE push_tokens (
    push_token_id uuid PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),  -- SHA-256 of the whole token
    token_prefix text NOT NULL CHECK (token_prefix ~ '^ams_push_[0-9A-Za-z]{8}$'),
    service_id uuid NOT NULL,
    merchant_id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    revoked_at timestamptz,
    last_used_at timestamptz,
    FOREIGN KEY (service_id, merchant_id) REFERENCES repositories (service_id, merchant_id)
);
CREATE INDEX push_tokens_by_merchant ON push_tokens (merchant_id, created_at, push_token_id);
CREATE INDEX push_tokens_by_service ON push_tokens (service_id);

-- One row per version of an image. A version that is active keeps its digest; one that was rejected,
-- deprecated or deleted may be pushed anew.
CREATE TABLE images (
    image_id uuid PRIMARY KEY,
    service_id uuid NOT NULL,
    merchant_id uuid NOT NULL,
    name text NOT NULL,  -- the repository's name, or one below it
    tag text NOT NULL CHECK (tag ~ '^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$'),
    digest text NOT NULL CHECK (digest ~ '^sha256:[0-9a-f]{64}$'),
    -- The manifests that an index names, one per platform.
    child_digests text[] NOT NULL DEFAULT '{}',
    media_type text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    status text NOT NULL CHECK (status IN ('active', 'rejected', 'deprecated', 'deleted')),
    rejection_reason text NOT NULL DEFAULT '',
    license_model text CHECK (license_model IN ('connected', 'time_limited')),
    pushed_at timestamptz NOT NULL,
    UNIQUE (name, tag),
    CHECK ((status = 'rejected') = (rejection_reason <> '')),
    CHECK (status <> 'active' OR license_model IS NOT NULL),
    FOREIGN KEY (service_id, merchant_id) REFERENCES repositories (service_id, merchant_id)
);
CREATE INDEX images_by_merchant ON images (merchant_id, pushed_at, image_id);
CREATE INDEX images_by_service ON images (service_id, pushed_at, image_id);
CREATE INDEX images_by_age ON images (pushed_at, image_id);
CREATE INDEX images_by_digest ON images (name, digest);

-- One row per pull. A client asks for several manifests in one pull, all with one access token.
CREATE TABLE pulls (
    pull_id uuid PRIMARY KEY,  -- the usage event's id
    token_id uuid NOT NULL,    -- the access token's
    image_id uuid NOT NULL REFERENCES images,
    digest text NOT NULL,      -- of the version as it was then
    consumer_id uuid NOT NULL,
    key_id uuid NOT NULL,
    pulled_at timestamptz NOT NULL,
    UNIQUE (token_id, image_id, digest)
);
CREATE INDEX pulls_by_image ON pulls (image_id);

-- Uploads under way. Clients know the id; only we know how to go on with the provider.
CREATE TABLE uploads (
    upload_id uuid PRIMARY KEY,
    name text NOT NULL,
    push_token_id uuid NOT NULL REFERENCES push_tokens,
    session text NOT NULL,
    size_bytes bigint NOT NULL DEFAULT 0 CHECK (size_bytes >= 0),
    changed_at timestamptz NOT NULL
);
CREATE INDEX uploads_by_age ON uploads (changed_at);
