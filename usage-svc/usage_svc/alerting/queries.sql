-- name: plan_each_time
-- A plan for any range would lock every partition.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true);

-- fragment: rule_columns
alert_rule_id, owner_id, role, name, metric, period, thresholds, currency_code, service_id, api_key_id, project_id,
consumer, key, consumer_id, merchant_id, min_requests, sends_mail, webhook_url, created_at

-- name: lock_rules_of_owner
-- One after the other: two requests at once can't both make the last rule that is allowed.
SELECT true FROM (SELECT pg_advisory_xact_lock(hashtextextended('alert rules of ' || :owner_id::uuid, 0))) AS locked;

-- name: keys_of_merchant
-- Those that have called its services.
SELECT DISTINCT api_key_id FROM series WHERE merchant_id = :merchant_id;

-- name: count_rules
SELECT count(*) FROM alert_rules WHERE owner_id = :owner_id;

-- name: add_rule
INSERT INTO alert_rules (
    alert_rule_id, owner_id, role, name, metric, period, thresholds, currency_code, service_id, api_key_id,
    project_id, consumer, key, consumer_id, merchant_id, min_requests, sends_mail, webhook_url, webhook_secret,
    created_at
) VALUES (
    :alert_rule_id, :owner_id, :role, :name, :metric, :period, :thresholds, :currency_code, :service_id, :api_key_id,
    :project_id, :consumer, :key, :consumer_id, :merchant_id, :min_requests, :sends_mail, :webhook_url,
    :webhook_secret, :created_at
);

-- name: rules_of_owner
SELECT {rule_columns} FROM alert_rules
WHERE owner_id = :owner_id AND role = :role ORDER BY created_at DESC, alert_rule_id DESC;

-- name: rules_by_ids
SELECT {rule_columns} FROM alert_rules WHERE alert_rule_id = ANY(:rule_ids::uuid[]);

-- fragment: of_project
rule.project_id = :project_id AND rule.consumer_id IS NULL AND rule.role = 3

-- name: rules_of_project
-- Those that its members have made.
SELECT {rule_columns} FROM alert_rules AS rule WHERE {of_project} ORDER BY created_at DESC, alert_rule_id DESC;

-- name: delete_rule
-- One's own, or one about a project that somebody of one's role there answers for.
DELETE FROM alert_rules AS rule
WHERE alert_rule_id = :alert_rule_id AND rule.role = ANY(:roles::smallint[]) AND (
    owner_id = :owner_id
    OR consumer_id IS NULL AND rule.role = 3 AND EXISTS (
        SELECT FROM project_members AS member
        WHERE member.project_id = rule.project_id AND member.user_id = :owner_id
            AND member.role = ANY(:project_roles::smallint[])
    )
);

-- name: delete_rules_of_others
DELETE FROM alert_rules WHERE alert_rule_id IN (
    SELECT alert_rule_id FROM alert_rules AS rule
    WHERE {of_project} AND owner_id <> ALL(:keep_owner_ids::uuid[])
    ORDER BY alert_rule_id FOR UPDATE
);

-- name: list_alerts
-- order fired_at desc: timestamptz fired_at, uuid alert_id
SELECT
    alert_id, alert_rule_id, rule.name AS rule_name, rule.metric, rule.period, alert.period_start, alert.threshold,
    alert.value, rule.currency_code, alert.fired_at, alert.webhook_status, alert.read_at IS NOT NULL AS is_read, {key}
FROM alerts AS alert JOIN alert_rules AS rule USING (alert_rule_id)
WHERE alert.owner_id = :owner_id AND alert.role = :role AND {after}
ORDER BY {order} LIMIT :limit;

-- name: list_alerts_of_project
-- order fired_at desc: timestamptz fired_at, uuid alert_id
SELECT
    alert_id, alert_rule_id, rule.name AS rule_name, rule.metric, rule.period, alert.period_start, alert.threshold,
    alert.value, rule.currency_code, alert.fired_at, alert.webhook_status, alert.read_at IS NOT NULL AS is_read, {key}
FROM alerts AS alert JOIN alert_rules AS rule USING (alert_rule_id)
WHERE {of_project} AND {after}
ORDER BY {order} LIMIT :limit;

-- name: count_unread
SELECT count(*) FROM alerts WHERE owner_id = :owner_id AND role = :role AND read_at IS NULL;

-- name: mark_read
-- Rules by their ids, and alerts of those that are held: who deletes a rule waits, or is waited for, before any alert.
UPDATE alerts SET read_at = :now WHERE alert_id IN (
    SELECT alert.alert_id FROM alerts AS alert JOIN alert_rules AS rule USING (alert_rule_id)
    WHERE alert.owner_id = :owner_id AND alert.role = :role AND alert.read_at IS NULL AND alert.fired_at <= :until
    ORDER BY alert_rule_id, alert.alert_id FOR KEY SHARE OF rule FOR NO KEY UPDATE OF alert
);

-- fragment: other_filters
(rule.service_id IS NULL OR series.service_id = rule.service_id)
AND (rule.api_key_id IS NULL OR series.api_key_id = rule.api_key_id)
AND (rule.project_id IS NULL OR series.project_id = rule.project_id)

-- fragment: of_no_one
rule.consumer_id IS NULL AND rule.merchant_id IS NULL AND rule.project_id IS NULL

-- name: take_late_series
-- What was counted long after its time. Whoever takes it and dies leaves it to those who look at all rules.
WITH taken AS (DELETE FROM late_usage RETURNING series_id) SELECT DISTINCT series_id FROM taken;

-- name: touched_rules
-- Rules whose consumer, merchant, project, key or service had usage of late, or in a series that was counted late.
-- Those of admins about everything are left to `next_rules`.
WITH touched AS MATERIALIZED (
    SELECT consumer_id, merchant_id, service_id, api_key_id, project_id
    FROM (
        SELECT series_id FROM rollups_by_minute WHERE bucket_start >= :since
        UNION
        SELECT unnest(:late_series_ids::bigint[])
    ) AS recent
    JOIN series USING (series_id)
)
SELECT alert_rule_id FROM touched AS series JOIN alert_rules AS rule ON rule.consumer_id = series.consumer_id
WHERE (rule.merchant_id IS NULL OR rule.merchant_id = series.merchant_id) AND {other_filters}
UNION
SELECT alert_rule_id FROM touched AS series JOIN alert_rules AS rule
    ON rule.consumer_id IS NULL AND rule.merchant_id = series.merchant_id
WHERE {other_filters}
UNION
SELECT alert_rule_id FROM touched AS series JOIN alert_rules AS rule
    ON rule.consumer_id IS NULL AND rule.merchant_id IS NULL AND rule.project_id = series.project_id
WHERE {other_filters}
UNION
SELECT alert_rule_id FROM touched AS series JOIN alert_rules AS rule
    ON {of_no_one} AND rule.api_key_id = series.api_key_id
WHERE {other_filters}
UNION
SELECT alert_rule_id FROM touched AS series JOIN alert_rules AS rule
    ON {of_no_one} AND rule.api_key_id IS NULL AND rule.service_id = series.service_id;

-- name: next_rules
-- All rules, so many at a time.
SELECT alert_rule_id FROM alert_rules WHERE alert_rule_id > :after_id ORDER BY alert_rule_id LIMIT :limit;

-- fragment: series_of_rule
-- An index for each: of those that don't apply nothing is read.
(
    SELECT series_id, service_id FROM series
    WHERE consumer_id = rule.consumer_id AND (rule.merchant_id IS NULL OR merchant_id = rule.merchant_id)
        AND {other_filters}
    UNION ALL
    SELECT series_id, service_id FROM series
    WHERE rule.consumer_id IS NULL AND merchant_id = rule.merchant_id AND {other_filters}
    UNION ALL
    SELECT series_id, service_id FROM series
    WHERE rule.consumer_id IS NULL AND rule.merchant_id IS NULL AND project_id = rule.project_id AND {other_filters}
    UNION ALL
    SELECT series_id, service_id FROM series
    WHERE {of_no_one} AND api_key_id = rule.api_key_id AND {other_filters}
    UNION ALL
    SELECT series_id, service_id FROM series
    WHERE {of_no_one} AND rule.api_key_id IS NULL AND service_id = rule.service_id
    UNION ALL
    SELECT series_id, service_id FROM series
    WHERE {of_no_one} AND rule.api_key_id IS NULL AND rule.service_id IS NULL
) AS used

-- fragment: figures_from
SELECT alert_rule_id, period_start, requests, errors, bytes
FROM unnest(:rule_ids::uuid[], :starts::timestamptz[], :ends::timestamptz[])
    AS wanted (alert_rule_id, period_start, period_end)
JOIN alert_rules AS rule USING (alert_rule_id)
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(errors), 0)::bigint AS errors,
        coalesce(sum(request_bytes + response_bytes), 0)::bigint AS bytes
    FROM {series_of_rule} JOIN

-- name: figures_from_hours
{figures_from} rollups_by_hour USING (series_id)
    WHERE bucket_start >= wanted.period_start AND bucket_start < wanted.period_end
) AS sums;

-- name: figures_from_days
{figures_from} rollups_by_day USING (series_id)
    WHERE bucket_start >= wanted.period_start AND bucket_start < wanted.period_end
) AS sums;

-- name: services_of_rules
-- Of what the rules' usage was, ever.
SELECT DISTINCT alert_rule_id, used.service_id
FROM alert_rules AS rule CROSS JOIN LATERAL {series_of_rule}
WHERE alert_rule_id = ANY(:rule_ids::uuid[]);

-- name: add_alerts
-- Those that haven't fired before. A rule that is being deleted is waited for, and fires no more. In one order:
-- processes that see the same usage fire the same at once, and each waits for what another is just adding.
INSERT INTO alerts (
    alert_id, alert_rule_id, owner_id, role, period_start, threshold, value, fired_at, webhook_status, webhook_next_at
)
SELECT
    fired.alert_id, alert_rule_id, rule.owner_id, rule.role, fired.period_start, fired.threshold, fired.value,
    :now::timestamptz, CASE WHEN rule.webhook_url = '' THEN 0 ELSE 1 END,
    CASE WHEN rule.webhook_url = '' THEN NULL ELSE :now::timestamptz END
FROM unnest(:alert_ids::uuid[], :rule_ids::uuid[], :starts::timestamptz[], :thresholds::text[], :values::text[])
    AS fired (alert_id, alert_rule_id, period_start, threshold, value)
JOIN (
    SELECT * FROM alert_rules WHERE alert_rule_id = ANY(:rule_ids) ORDER BY alert_rule_id FOR KEY SHARE
) AS rule USING (alert_rule_id)
ORDER BY alert_rule_id, fired.period_start, fired.threshold
ON CONFLICT (alert_rule_id, period_start, threshold) DO NOTHING
RETURNING alert_id;

-- name: claim_deliveries
-- What is due, few of each owner: a receiver that never answers keeps others waiting for a moment only. Until
-- `retry_at` nobody else takes them; whoever is killed meanwhile has them delivered again.
WITH due AS (
    SELECT alert_id FROM (
        SELECT
            alert_id, webhook_next_at,
            row_number() OVER (PARTITION BY owner_id ORDER BY webhook_next_at) AS place
        FROM alerts WHERE webhook_status = 1 AND webhook_next_at <= :now
    ) AS waiting
    WHERE place <= :per_owner ORDER BY place, webhook_next_at LIMIT :limit
), claimed AS (
    UPDATE alerts SET webhook_next_at = :retry_at, webhook_attempts = webhook_attempts + 1
    WHERE alert_id IN (
        SELECT alert_id FROM alerts JOIN due USING (alert_id)
        WHERE webhook_status = 1 AND webhook_next_at <= :now
        FOR UPDATE OF alerts SKIP LOCKED
    )
    RETURNING *
)
SELECT
    alert_id, alert_rule_id, rule.name AS rule_name, rule.metric, rule.period, claimed.period_start, claimed.threshold,
    claimed.value, rule.currency_code, claimed.fired_at, claimed.webhook_attempts AS attempts, rule.webhook_url,
    rule.webhook_secret
FROM claimed JOIN alert_rules AS rule USING (alert_rule_id);

-- name: set_delivery
UPDATE alerts SET webhook_status = :status, webhook_next_at = :next_at
WHERE alert_id = :alert_id AND webhook_status = 1;

-- name: purge_alerts
DELETE FROM alerts WHERE alert_id IN (SELECT alert_id FROM alerts WHERE fired_at < :before LIMIT :limit);
