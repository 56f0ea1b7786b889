-- A version that was once published names one digest for ever: only a rejected one may be pushed anew. What
-- 0001_images.sql says of deprecated and deleted ones holds no more.

-- What a manifest that was pushed names: consumers are given the layers of active versions and no others.
-- A manifest from before this table is read from the provider when a consumer asks for one of its layers.
CREATE TABLE manifests (
    name text NOT NULL,
    digest text NOT NULL CHECK (digest ~ '^sha256:[0-9a-f]{64}$'),
    blob_digests text[] NOT NULL,
    PRIMARY KEY (name, digest)
);

-- Which versions an access token asked for by tag: what it then asks for by digest belongs to those.
CREATE TABLE resolutions (
    token_id uuid NOT NULL,
    image_id uuid NOT NULL REFERENCES images,
    resolved_at timestamptz NOT NULL,
    PRIMARY KEY (token_id, image_id)
);
CREATE INDEX resolutions_by_age ON resolutions (resolved_at);

-- When a key's refused pull of an image was last written down; name is '' for all that isn't there.
CREATE TABLE refusals (
    key_id uuid NOT NULL,
    name text NOT NULL,
    refused_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, name)
);

-- True while a request adds to the upload. Left over from one that was killed, it says that the provider may
-- have more than size_bytes.
ALTER TABLE uploads ADD COLUMN is_open boolean NOT NULL DEFAULT false;
