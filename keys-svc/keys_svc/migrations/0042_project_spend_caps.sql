-- What calls with a project's keys may cost together in a UTC month, whoever has made the keys. No foreign key: the
-- row of a project is locked before its owner's, and this is written with the owner locked (docs/locks.md).
CREATE TABLE project_spend_caps (
    project_id uuid PRIMARY KEY,
    spend_cap_currency text CHECK (spend_cap_currency ~ '^[A-Z]{3}$'),
    spend_cap_amount numeric(19, 9) CHECK (spend_cap_amount > 0),
    CHECK ((spend_cap_currency IS NULL) = (spend_cap_amount IS NULL))
);
