-- Who has paid for a project's usage in a month: one owner, or several where it was handed over.
CREATE INDEX usage_counters_by_project ON usage_counters (project_id, day) WHERE project_id IS NOT NULL;
