-- What may be asked, mailed and guessed, and how much of it is used up: when all of it is there again. The key is a
-- keyed hash of what is counted, so that neither addresses nor people stand here.
CREATE TABLE allowances (
    allowance_key bytea PRIMARY KEY CHECK (length(allowance_key) = 32),
    full_at timestamptz NOT NULL
);
CREATE INDEX allowances_by_age ON allowances (full_at);

-- A mailed code. Each who asks for the address while it is good has a challenge of their own, with tries of their own;
-- whoever gives it back uses it up for all.
CREATE TABLE codes (
    code_id uuid PRIMARY KEY,
    email text NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('sign_in', 'register_consumer', 'register_merchant')),
    sealed_code bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX codes_by_email ON codes (email, purpose, created_at DESC);
CREATE INDEX codes_by_creation ON codes (created_at);
-- Null: of before there were codes; such a challenge has the code to itself.
ALTER TABLE challenges ADD COLUMN code_id uuid REFERENCES codes ON DELETE CASCADE;
CREATE INDEX challenges_by_code ON challenges (code_id);
-- What asking for it has used up, given back when it is proven.
ALTER TABLE challenges ADD COLUMN spent_keys bytea[] NOT NULL DEFAULT '{}';
ALTER TABLE challenges ADD COLUMN spent_refills interval[] NOT NULL DEFAULT '{}';

-- How often anybody has tried to sign in. Tries of strangers leave no audit records.
CREATE TABLE sign_in_tries (
    hour timestamptz NOT NULL,
    outcome text NOT NULL,
    tries bigint NOT NULL CHECK (tries > 0),
    PRIMARY KEY (hour, outcome)
);
