-- Changes of services in the marketplace, which wait for an admin.
CREATE TABLE service_revisions (
    revision_id uuid PRIMARY KEY,
    service_id uuid NOT NULL REFERENCES services,
    number integer NOT NULL CHECK (number > 0),
    status text NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'withdrawn')),
    -- The fields that it changes with the values they are to have: an UpdateServiceRequest as JSON.
    content jsonb NOT NULL,
    -- What differed when it was decided: field, before, after.
    changes jsonb,
    reason text NOT NULL DEFAULT '',
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    decided_at timestamptz,
    UNIQUE (service_id, number),
    CHECK ((status = 'pending') = (decided_at IS NULL)),
    CHECK ((status = 'pending') = (changes IS NULL)),
    CHECK (status <> 'rejected' OR reason <> '')
);
CREATE UNIQUE INDEX service_revisions_open ON service_revisions (service_id) WHERE status = 'pending';
CREATE INDEX service_revisions_waiting ON service_revisions (created_at, revision_id) WHERE status = 'pending';
