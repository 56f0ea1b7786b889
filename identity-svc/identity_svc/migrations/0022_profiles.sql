-- Pictures of people and logos of merchants, made small by us. Their ids can't be guessed, and a new picture has a
-- new one: what lies in caches never shows the wrong one.
CREATE TABLE pictures (
    picture_id uuid PRIMARY KEY,
    content bytea NOT NULL CHECK (length(content) BETWEEN 1 AND 1048576),
    created_at timestamptz NOT NULL
);
ALTER TABLE users ADD COLUMN picture_id uuid UNIQUE REFERENCES pictures ON DELETE SET NULL;

-- What a merchant tells everybody of itself. Links: [{"label": …, "url": …}, …]
ALTER TABLE merchant_profiles
    ADD COLUMN about text NOT NULL DEFAULT '',
    ADD COLUMN links jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN logo_id uuid UNIQUE REFERENCES pictures ON DELETE SET NULL;
