-- A merchant's rule about a key keeps the form of it that the merchant knows; api_key_id, which the merchant is never
-- told, is the key.
ALTER TABLE alert_rules ADD COLUMN key text NOT NULL DEFAULT '';

-- An admin's rule about a key or a service, whosever it is.
CREATE INDEX alert_rules_by_key ON alert_rules (api_key_id)
    WHERE consumer_id IS NULL AND merchant_id IS NULL AND project_id IS NULL AND api_key_id IS NOT NULL;
CREATE INDEX alert_rules_by_service ON alert_rules (service_id)
    WHERE consumer_id IS NULL AND merchant_id IS NULL AND project_id IS NULL AND api_key_id IS NULL
        AND service_id IS NOT NULL;
