-- What identity.events tells of consumers. A consumer whose event hasn't arrived is active; the row is
-- made the first time somebody needs it, for it is also the lock that puts all changes of one consumer's
-- keys, requests and standing into one order.
CREATE TABLE consumers (
    consumer_id uuid PRIMARY KEY,
    standing text NOT NULL DEFAULT 'active' CHECK (standing IN ('active', 'suspended', 'blocked'))
);

CREATE TABLE access_requests (
    access_request_id uuid PRIMARY KEY,
    consumer_id uuid NOT NULL REFERENCES consumers,
    service_id uuid NOT NULL,
    merchant_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'denied')),
    note text NOT NULL,                 -- the consumer's
    reason text NOT NULL DEFAULT '',    -- the admin's
    requested_at timestamptz NOT NULL,
    resolved_at timestamptz,
    resolved_by uuid,                   -- the admin
    CHECK ((status = 'pending') = (resolved_at IS NULL)),
    CHECK ((resolved_at IS NULL) = (resolved_by IS NULL))
);
CREATE UNIQUE INDEX access_requests_one_pending ON access_requests (consumer_id, service_id)
    WHERE status = 'pending';
CREATE INDEX access_requests_by_time ON access_requests (requested_at, access_request_id);
CREATE INDEX access_requests_by_status ON access_requests (status, requested_at, access_request_id);
CREATE INDEX access_requests_by_consumer ON access_requests (consumer_id, requested_at, access_request_id);

-- An approved request: the consumer may assign the service to keys.
CREATE TABLE grants (
    consumer_id uuid NOT NULL REFERENCES consumers,
    service_id uuid NOT NULL,
    merchant_id uuid NOT NULL,
    access_request_id uuid NOT NULL UNIQUE REFERENCES access_requests,
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (consumer_id, service_id)
);

CREATE TABLE keys (
    key_id uuid PRIMARY KEY,
    key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),  -- SHA-256 of the whole key
    key_prefix text NOT NULL CHECK (key_prefix ~ '^ams_live_[0-9A-Za-z]{8}$'),
    consumer_id uuid NOT NULL REFERENCES consumers,
    name text NOT NULL,
    description text NOT NULL,
    ttl_days integer NOT NULL CHECK (ttl_days BETWEEN 1 AND 365),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    revoked_at timestamptz,
    UNIQUE (key_id, consumer_id)
);
CREATE INDEX keys_by_consumer ON keys (consumer_id, created_at, key_id);

-- The two foreign keys share consumer_id, so no key can hold a service that its own consumer has no
-- grant for.
CREATE TABLE key_services (
    key_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    service_id uuid NOT NULL,
    PRIMARY KEY (key_id, service_id),
    FOREIGN KEY (key_id, consumer_id) REFERENCES keys (key_id, consumer_id),
    FOREIGN KEY (consumer_id, service_id) REFERENCES grants (consumer_id, service_id)
);
CREATE INDEX key_services_by_grant ON key_services (consumer_id, service_id);
