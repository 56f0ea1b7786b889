-- What calls may cost in a UTC month: those with one key, and all of one consumer's.
ALTER TABLE keys
    ADD COLUMN spend_cap_currency text CHECK (spend_cap_currency ~ '^[A-Z]{3}$'),
    ADD COLUMN spend_cap_amount numeric(19, 9) CHECK (spend_cap_amount > 0),
    ADD CHECK ((spend_cap_currency IS NULL) = (spend_cap_amount IS NULL));
ALTER TABLE consumers
    ADD COLUMN spend_cap_currency text CHECK (spend_cap_currency ~ '^[A-Z]{3}$'),
    ADD COLUMN spend_cap_amount numeric(19, 9) CHECK (spend_cap_amount > 0),
    ADD CHECK ((spend_cap_currency IS NULL) = (spend_cap_amount IS NULL));

-- A test key's calls are never billed. Its prefix says so, for people, and can't say otherwise.
ALTER TABLE keys
    ADD COLUMN is_test boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT keys_key_prefix_check,
    ADD CONSTRAINT keys_key_prefix_check CHECK (
        key_prefix ~ CASE WHEN is_test THEN '^ams_test_[0-9A-Za-z]{8}$' ELSE '^ams_live_[0-9A-Za-z]{8}$' END
    );
