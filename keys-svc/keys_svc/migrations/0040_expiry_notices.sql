-- Which notices of a key's coming end were told. One with another end has its notices anew.
CREATE TABLE expiry_notices (
    key_id uuid NOT NULL REFERENCES keys,
    expires_at timestamptz NOT NULL,
    days_ahead integer NOT NULL CHECK (days_ahead > 0),
    told_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, expires_at, days_ahead)
);
