-- Who signs in with an OpenID Connect issuer: the issuer's subject, and the account that it is. The
-- address isn't kept here: it may change at the issuer, and the subject stays.
CREATE TABLE federated_identities (
    issuer text NOT NULL,
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    user_id uuid NOT NULL REFERENCES users,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX federated_identities_by_user ON federated_identities (user_id);
