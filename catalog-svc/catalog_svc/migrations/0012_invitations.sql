-- Links to private services. Of the token only the hash is kept.
CREATE TABLE service_invitations (
    invitation_id uuid PRIMARY KEY,
    service_id uuid NOT NULL REFERENCES services,
    token_sha256 bytea NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    note text NOT NULL CHECK (note <> ''),
    max_uses integer NOT NULL CHECK (max_uses BETWEEN 1 AND 1000),
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX service_invitations_by_service ON service_invitations (service_id, created_at DESC, invitation_id DESC);

-- Who has accepted one, and sees its service for as long as the invitation isn't revoked.
CREATE TABLE service_viewers (
    invitation_id uuid NOT NULL REFERENCES service_invitations,
    user_id uuid NOT NULL,
    accepted_at timestamptz NOT NULL,
    PRIMARY KEY (invitation_id, user_id)
);
CREATE INDEX service_viewers_by_user ON service_viewers (user_id);
