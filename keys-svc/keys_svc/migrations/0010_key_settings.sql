-- A key belongs to a person or to a project: `holder_id` is the one of both. `consumer_id` is who pays for its calls,
-- a project's owner for a project's key, and changes when the project is handed over.
ALTER TABLE keys
    ADD COLUMN project_id uuid,
    ADD COLUMN holder_id uuid GENERATED ALWAYS AS (coalesce(project_id, consumer_id)) STORED,
    ADD COLUMN created_by uuid,
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN rotated_at timestamptz,
    -- CIDR, each in its shortest form. Empty: from anywhere.
    ADD COLUMN allowed_networks text[] NOT NULL DEFAULT '{}',
    -- NULL: it has a fixed end.
    ALTER COLUMN ttl_days DROP NOT NULL,
    ADD UNIQUE (key_id, holder_id);
UPDATE keys SET created_by = consumer_id;
ALTER TABLE keys ALTER COLUMN created_by SET NOT NULL;
CREATE INDEX keys_by_holder ON keys (holder_id, created_at, key_id);
-- What a member who leaves has made.
CREATE INDEX keys_by_maker ON keys (project_id, created_by) WHERE project_id IS NOT NULL;
-- Whose owners are told that they expire soon.
CREATE INDEX keys_by_expiry ON keys (expires_at) WHERE revoked_at IS NULL;

-- Secrets that were replaced: until `ends_at` they open what the key opens.
CREATE TABLE previous_secrets (
    key_hash bytea PRIMARY KEY CHECK (octet_length(key_hash) = 32),
    key_id uuid NOT NULL REFERENCES keys,
    key_prefix text NOT NULL,
    replaced_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    CHECK (ends_at BETWEEN replaced_at AND replaced_at + interval '24 hours')
);
CREATE INDEX previous_secrets_by_key ON previous_secrets (key_id, ends_at);
