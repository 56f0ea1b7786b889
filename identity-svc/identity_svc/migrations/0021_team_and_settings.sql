-- Invites make merchants or admins; they can be revoked, and sent again with a new code.
ALTER TABLE invites
    ADD COLUMN role text NOT NULL DEFAULT 'merchant' CHECK (role IN ('merchant', 'admin')),
    ADD COLUMN revoked_at timestamptz,
    ADD COLUMN sent_at timestamptz NOT NULL DEFAULT now(),
    ADD CHECK (accepted_at IS NULL OR revoked_at IS NULL);
UPDATE invites SET sent_at = created_at;
CREATE INDEX invites_by_role ON invites (role, created_at DESC, invite_id DESC);
DROP INDEX invites_by_creation;

-- Who was dismissed stays dismissed, though the deployment's settings may name the address still.
CREATE TABLE dismissed_admins (
    user_id uuid PRIMARY KEY REFERENCES users,
    dismissed_at timestamptz NOT NULL
);

-- Each version of the platform's settings as a whole, for ever; the newest is in force.
CREATE TABLE platform_settings (
    version bigint PRIMARY KEY CHECK (version > 0),
    settings jsonb NOT NULL,
    changed_by uuid NOT NULL,
    changed_at timestamptz NOT NULL,
    reason text NOT NULL
);
