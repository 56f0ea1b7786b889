-- What only the owner of projects keeps of them: they and their members are common tables (0006_projects).
CREATE SEQUENCE project_versions;
CREATE UNIQUE INDEX projects_by_version ON projects (version) WHERE version > 0;

ALTER TABLE project_members
    ADD COLUMN joined_at timestamptz NOT NULL,
    ADD FOREIGN KEY (user_id) REFERENCES users,
    ADD UNIQUE (project_id, user_id, role);
-- Together with the foreign key below: each project has exactly one owner, and it is who pays.
CREATE UNIQUE INDEX project_members_one_owner ON project_members (project_id) WHERE role = 1;

ALTER TABLE projects
    ADD COLUMN description text NOT NULL,
    ADD COLUMN created_at timestamptz NOT NULL,
    ADD COLUMN closed_at timestamptz,
    -- The member whom the owner offers it to; none that has left.
    ADD COLUMN offered_to_id uuid,
    ADD COLUMN owner_role smallint NOT NULL DEFAULT 1 CHECK (owner_role = 1),
    ADD CHECK (is_closed = (closed_at IS NOT NULL)),
    ADD CHECK (offered_to_id <> owner_id),
    ADD CHECK (NOT is_closed OR offered_to_id IS NULL),
    ADD FOREIGN KEY (project_id, owner_id, owner_role) REFERENCES project_members (project_id, user_id, role)
        DEFERRABLE INITIALLY DEFERRED,
    ADD FOREIGN KEY (project_id, offered_to_id) REFERENCES project_members (project_id, user_id)
        ON DELETE SET NULL (offered_to_id);
CREATE INDEX projects_by_owner ON projects (owner_id) WHERE NOT is_closed;

CREATE TABLE project_invitations (
    invitation_id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects,
    email text NOT NULL CHECK (email = lower(email COLLATE "C")),
    role smallint NOT NULL CHECK (role BETWEEN 2 AND 4),
    service_ids uuid[] NOT NULL,
    code_hash bytea NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    invited_by uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL,
    sent_at timestamptz NOT NULL,
    times_sent integer NOT NULL DEFAULT 1 CHECK (times_sent > 0),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('accepted', 'declined', 'revoked')),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
-- One that has run out is revoked or sent again, so it counts as open.
CREATE UNIQUE INDEX project_invitations_open ON project_invitations (project_id, email) WHERE ended_at IS NULL;
CREATE INDEX project_invitations_by_email ON project_invitations (email) WHERE ended_at IS NULL;
CREATE INDEX project_invitations_by_sender ON project_invitations (invited_by, sent_at);
CREATE INDEX project_invitations_by_end ON project_invitations (ended_at) WHERE ended_at IS NOT NULL;
