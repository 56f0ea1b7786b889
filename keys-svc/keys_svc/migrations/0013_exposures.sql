-- Whether a consumer's key that was found in public is disabled at once.
ALTER TABLE consumers ADD COLUMN disables_found_keys boolean NOT NULL DEFAULT true;

-- Where secrets of keys were found. One row for a secret and a place: who reports it again tells nobody anew.
CREATE TABLE exposures (
    exposure_id uuid PRIMARY KEY,
    key_id uuid NOT NULL REFERENCES keys,
    key_hash bytea NOT NULL,
    found_at text NOT NULL,
    exposed_since timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    has_disabled boolean NOT NULL,
    told_at timestamptz,                -- NULL: its owner isn't yet
    UNIQUE (key_hash, found_at)
);
CREATE INDEX exposures_by_key ON exposures (key_id, reported_at);
CREATE INDEX exposures_untold ON exposures (reported_at) WHERE told_at IS NULL;
