-- Rules of alerts; never changed. `role`, `metric` and `period` are the numbers of ams.policy.v1.Role and of
-- ams.usage.v1. Its usage is that of `consumer_id` and of `merchant_id`, where they are set: one of both is the
-- owner, except for an admin's.
CREATE TABLE alert_rules (
    alert_rule_id uuid PRIMARY KEY,
    owner_id uuid NOT NULL,
    role smallint NOT NULL,
    name text NOT NULL,
    metric smallint NOT NULL CHECK (metric BETWEEN 1 AND 4),
    period smallint NOT NULL CHECK (period BETWEEN 1 AND 3),
    thresholds text[] NOT NULL,
    currency_code text NOT NULL,
    service_id uuid,
    api_key_id uuid,
    project_id uuid,
    -- As it was asked for.
    consumer text NOT NULL,
    consumer_id uuid,
    merchant_id uuid,
    min_requests bigint NOT NULL,
    sends_mail boolean NOT NULL,
    webhook_url text NOT NULL,
    webhook_secret bytea,  -- sealed
    created_at timestamptz NOT NULL,
    CHECK ((webhook_url = '') = (webhook_secret IS NULL))
);
CREATE INDEX alert_rules_by_owner ON alert_rules (owner_id, created_at);
CREATE INDEX alert_rules_by_consumer ON alert_rules (consumer_id);
CREATE INDEX alert_rules_by_merchant ON alert_rules (merchant_id) WHERE consumer_id IS NULL;

-- What has fired: once for each rule, period and threshold. `webhook_status` is that of ams.usage.v1.WebhookStatus.
CREATE TABLE alerts (
    alert_id uuid PRIMARY KEY,
    alert_rule_id uuid NOT NULL REFERENCES alert_rules ON DELETE CASCADE,
    owner_id uuid NOT NULL,
    role smallint NOT NULL,
    period_start timestamptz NOT NULL,
    threshold text NOT NULL,
    value text NOT NULL,
    fired_at timestamptz NOT NULL,
    read_at timestamptz,
    webhook_status smallint NOT NULL CHECK (webhook_status BETWEEN 0 AND 3),
    webhook_attempts smallint NOT NULL DEFAULT 0,
    webhook_next_at timestamptz,
    UNIQUE (alert_rule_id, period_start, threshold)
);
CREATE INDEX alerts_by_owner ON alerts (owner_id, role, fired_at, alert_id);
CREATE INDEX alerts_unread ON alerts (owner_id, role) WHERE read_at IS NULL;
CREATE INDEX alerts_to_deliver ON alerts (webhook_next_at) WHERE webhook_status = 1;
CREATE INDEX alerts_by_time ON alerts (fired_at);
