-- What merchants call themselves, as identity.events tells it: for mails that name one.
CREATE TABLE merchants (
    merchant_id uuid PRIMARY KEY,
    display_name text NOT NULL,
    standing_version bigint NOT NULL
);

-- Reports, which are also the queue of those that are to be made. `role`, `format`, `detail` and `status` are the
-- numbers of ams.policy.v1.Role and of ams.usage.v1.
CREATE TABLE reports (
    report_id uuid PRIMARY KEY,
    owner_id uuid NOT NULL,
    role smallint NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL CHECK (last_day >= first_day),
    service_id uuid,
    -- As it was asked for, and whom that means.
    consumer text NOT NULL,
    consumer_id uuid,
    format smallint NOT NULL,
    detail smallint NOT NULL,
    status smallint NOT NULL DEFAULT 1 CHECK (status BETWEEN 1 AND 4),
    progress_percent smallint NOT NULL DEFAULT 0,
    size_bytes bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    expires_at timestamptz NOT NULL,
    shared_at timestamptz,
    -- From then on nobody sees it; its file and its row are on their way out.
    deleted_at timestamptz,
    -- How often somebody has begun to make it. Who has begun later is in the right: each attempt has a file of its
    -- own, and only the last one finishes the report.
    attempt smallint NOT NULL DEFAULT 0,
    heartbeat_at timestamptz
);
CREATE INDEX reports_by_owner ON reports (owner_id, created_at, report_id);
CREATE INDEX reports_by_consumer ON reports (consumer_id, created_at, report_id) WHERE shared_at IS NOT NULL;
CREATE INDEX reports_unfinished ON reports (created_at) WHERE status IN (1, 2);
CREATE INDEX reports_by_expiry ON reports (expires_at);
