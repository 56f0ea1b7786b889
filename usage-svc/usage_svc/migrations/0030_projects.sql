-- The members of a project see what its keys have used, whoever has paid for it.
CREATE INDEX series_by_project ON series (project_id) WHERE project_id IS NOT NULL;

-- A consumer's rule about a project is about all of its usage: neither consumer nor merchant is set.
CREATE INDEX alert_rules_by_project ON alert_rules (project_id, created_at) WHERE project_id IS NOT NULL;

ALTER TABLE reports ADD COLUMN project_id uuid;
CREATE INDEX reports_by_project ON reports (project_id) WHERE project_id IS NOT NULL;
