-- The project that a pull was made for, which its key belonged to; NULL: none, or of before there were projects.
ALTER TABLE pulls ADD COLUMN project_id uuid;
CREATE INDEX pulls_by_project ON pulls (project_id, pulled_at) WHERE project_id IS NOT NULL;
