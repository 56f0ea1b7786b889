-- Whose usage, and what was billed of it, is asked for by merchant and consumer: a consumer of many merchants must
-- not be read whole for each of them.
DROP INDEX usage_counters_by_group;
CREATE UNIQUE INDEX usage_counters_by_group ON usage_counters (
    merchant_id, consumer_id, day, service_id, api_key_id, project_id, charge_class, source
) NULLS NOT DISTINCT;
CREATE INDEX usage_counters_by_consumer ON usage_counters (consumer_id, day);
CREATE INDEX invoices_by_pair ON invoices (merchant_id, consumer_id, last_day);

-- Also for the foreign key: without it each deleted draft is looked for in the whole table.
DROP INDEX invoices_by_corrected;
CREATE INDEX invoices_by_corrected ON invoices (corrects_invoice_id) WHERE corrects_invoice_id IS NOT NULL;
