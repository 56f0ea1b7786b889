-- Projects and who is in them, as identity-svc owns them and the others copy them (ams_common.projects). A
-- service that keeps nothing of projects leaves both empty.
CREATE TABLE projects (
    project_id uuid PRIMARY KEY,
    name text NOT NULL,
    owner_id uuid NOT NULL,             -- who pays for what its keys use
    is_closed boolean NOT NULL DEFAULT false,
    -- Of two states of a project the one with the higher version is in force.
    version bigint NOT NULL DEFAULT 0
);

CREATE TABLE project_members (
    project_id uuid NOT NULL REFERENCES projects,
    user_id uuid NOT NULL,
    role smallint NOT NULL CHECK (role BETWEEN 1 AND 4),  -- ams.identity.v1.ProjectRole
    service_ids uuid[] NOT NULL DEFAULT '{}',             -- empty: all that the project has access to
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX project_members_by_user ON project_members (user_id, project_id);
