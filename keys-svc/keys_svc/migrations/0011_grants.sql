-- Access is asked for by a person for itself or for a project.
ALTER TABLE access_requests
    ADD COLUMN project_id uuid,
    ADD COLUMN holder_id uuid GENERATED ALWAYS AS (coalesce(project_id, consumer_id)) STORED,
    ADD COLUMN requested_by uuid,
    ADD COLUMN resolver text,           -- who decided or withdrew it
    DROP CONSTRAINT access_requests_status_check,
    ADD CONSTRAINT access_requests_status_check
        CHECK (status IN ('pending', 'approved', 'denied', 'withdrawn'));
UPDATE access_requests SET requested_by = consumer_id, resolver = CASE WHEN status <> 'pending' THEN 'admin' END;
ALTER TABLE access_requests
    ALTER COLUMN requested_by SET NOT NULL,
    ADD CHECK (resolver IN ('consumer', 'merchant', 'admin')),
    ADD CHECK ((resolver IS NULL) = (status = 'pending'));
DROP INDEX access_requests_one_pending;
CREATE UNIQUE INDEX access_requests_one_pending ON access_requests (holder_id, service_id)
    WHERE status = 'pending';
CREATE INDEX access_requests_by_holder ON access_requests (holder_id, requested_at, access_request_id);
CREATE INDEX access_requests_by_merchant ON access_requests (merchant_id, requested_at, access_request_id);

-- A grant is a row of its own, which ends and stays. Of one holder and service one at most is in force.
ALTER TABLE key_services DROP CONSTRAINT key_services_consumer_id_service_id_fkey;
ALTER TABLE grants
    DROP CONSTRAINT grants_pkey,
    ADD COLUMN grant_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN project_id uuid,
    ADD COLUMN holder_id uuid GENERATED ALWAYS AS (coalesce(project_id, consumer_id)) STORED,
    ADD COLUMN ended_at timestamptz,
    ADD COLUMN ended_by text CHECK (ended_by IN ('consumer', 'merchant', 'admin')),
    ADD COLUMN end_reason text NOT NULL DEFAULT '',
    ADD PRIMARY KEY (grant_id),
    ADD UNIQUE (grant_id, holder_id, service_id),
    ADD CHECK ((ended_at IS NULL) = (ended_by IS NULL)),
    ADD CHECK (ended_at >= granted_at);
ALTER TABLE grants ALTER COLUMN grant_id DROP DEFAULT;
CREATE UNIQUE INDEX grants_in_force ON grants (holder_id, service_id) WHERE ended_at IS NULL;
CREATE INDEX grants_by_holder ON grants (holder_id, granted_at, grant_id);
CREATE INDEX grants_by_consumer ON grants (consumer_id, granted_at, grant_id);
CREATE INDEX grants_by_service_time ON grants (service_id, granted_at, grant_id);
CREATE INDEX grants_by_merchant ON grants (merchant_id, service_id, granted_at, grant_id);

-- What a key was made for. The two foreign keys share holder_id, so no key can hold a service that its own holder
-- never had a grant for; that the grant is still in force the key's snapshot looks at.
ALTER TABLE key_services
    ADD COLUMN holder_id uuid,
    ADD COLUMN grant_id uuid,
    ADD COLUMN assigned_at timestamptz NOT NULL DEFAULT now(),
    -- By the merchant, for good: the key's owner can't assign the service to it again.
    ADD COLUMN revoked_at timestamptz,
    -- [{"methods": ["GET"], "path": "/v1/*"}]. Empty: any call.
    ADD COLUMN allowed_calls jsonb NOT NULL DEFAULT '[]';
UPDATE key_services SET holder_id = grants.holder_id, grant_id = grants.grant_id
    FROM grants
    WHERE grants.consumer_id = key_services.consumer_id AND grants.service_id = key_services.service_id;
ALTER TABLE key_services
    ALTER COLUMN holder_id SET NOT NULL,
    ALTER COLUMN grant_id SET NOT NULL,
    DROP CONSTRAINT key_services_key_id_consumer_id_fkey,
    ADD FOREIGN KEY (key_id, holder_id) REFERENCES keys (key_id, holder_id),
    ADD FOREIGN KEY (grant_id, holder_id, service_id) REFERENCES grants (grant_id, holder_id, service_id),
    DROP COLUMN consumer_id;
CREATE INDEX key_services_by_grant ON key_services (grant_id);

-- Whose a service is, and who decides who may use it.
ALTER TABLE services
    ADD COLUMN merchant_id uuid,
    ADD COLUMN merchant_approves boolean NOT NULL DEFAULT false;
