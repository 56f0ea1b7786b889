-- The audit log is kept in a schema of its own, where no role of a service may change a record. Provisioning makes
-- it (ams_common.audit_log); what was kept here moves there, oldest first.
INSERT INTO audit.records (
    audit_id, occurred_at, actor, action, resource, resource_id, details, request_id, credential, client_address,
    changes
)
SELECT audit_id, occurred_at, actor, action, resource, resource_id, details, request_id, '', '', '[]'
FROM audit_records ORDER BY occurred_at, audit_id;
DROP TABLE audit_records;
DROP FUNCTION refuse_change();
