-- What a merchant has set for one consumer of one of its services, whichever of its keys calls.
CREATE TABLE consumer_terms (
    service_id uuid NOT NULL,
    consumer_id uuid NOT NULL REFERENCES consumers,
    merchant_id uuid NOT NULL,
    blocked_at timestamptz,             -- NULL: it isn't
    block_reason text NOT NULL DEFAULT '',
    -- Beside the service's own; 0: none.
    per_minute integer NOT NULL DEFAULT 0 CHECK (per_minute >= 0),
    per_day bigint NOT NULL DEFAULT 0 CHECK (per_day >= 0),
    per_month bigint NOT NULL DEFAULT 0 CHECK (per_month >= 0),
    PRIMARY KEY (service_id, consumer_id)
);

-- What bears on whether and how a key may call a service, of each that it was made for: keys_svc.key_services
-- decides by it.
CREATE VIEW key_service_facts AS
SELECT
    key_services.key_id, key_services.service_id, key_services.revoked_at, key_services.allowed_calls,
    grants.ended_at, terms.blocked_at,
    coalesce(terms.per_minute, 0) AS per_minute, coalesce(terms.per_day, 0) AS per_day,
    coalesce(terms.per_month, 0) AS per_month
FROM key_services
JOIN grants USING (grant_id)
LEFT JOIN consumer_terms AS terms
    ON terms.service_id = key_services.service_id AND terms.consumer_id = grants.consumer_id;
