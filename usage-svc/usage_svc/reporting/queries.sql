-- name: upsert_merchant
INSERT INTO merchants (merchant_id, display_name, standing_version)
VALUES (:merchant_id, :display_name, :standing_version)
ON CONFLICT (merchant_id) DO UPDATE
    SET display_name = excluded.display_name, standing_version = excluded.standing_version
    WHERE merchants.standing_version <= excluded.standing_version;

-- name: find_merchant_name
SELECT display_name FROM merchants WHERE merchant_id = :merchant_id;

-- name: consumers_of_merchant
SELECT DISTINCT consumer_id FROM series WHERE merchant_id = :merchant_id;

-- name: lock_owner
-- One after the other: two requests at once can't both be the last that is allowed.
SELECT true FROM (SELECT pg_advisory_xact_lock(hashtextextended('reports of ' || :owner_id::uuid, 0))) AS locked;

-- name: count_reports
SELECT count(*) FILTER (WHERE status IN (1, 2)) AS unfinished, count(*) AS kept
FROM reports WHERE owner_id = :owner_id AND deleted_at IS NULL;

-- fragment: report_columns
report_id, owner_id, role, first_day, last_day, service_id, consumer, consumer_id, project_id, format, detail,
status, progress_percent, size_bytes, rows, error, created_at, finished_at, expires_at, shared_at, attempt

-- name: add_report
INSERT INTO reports (
    report_id, owner_id, role, first_day, last_day, service_id, consumer, consumer_id, project_id, format, detail,
    created_at, expires_at
) VALUES (
    :report_id, :owner_id, :role, :first_day, :last_day, :service_id, :consumer, :consumer_id, :project_id, :format,
    :detail, :created_at, :expires_at
)
RETURNING {report_columns};

-- name: announce_reports
SELECT true FROM (SELECT pg_notify('reports_' || current_schema(), '')) AS announced;

-- fragment: seen_by_reader
-- One's own, in a role that one still has, and those that were shared with one.
deleted_at IS NULL AND (
    owner_id = :reader_id AND role = ANY(:roles::smallint[])
    OR consumer_id = :reader_id AND shared_at IS NOT NULL AND :is_consumer::boolean
)

-- name: list_reports
-- order created_at desc: timestamptz created_at, uuid report_id
SELECT {report_columns}, {key} FROM reports
WHERE {seen_by_reader} AND {after}
ORDER BY {order} LIMIT :limit;

-- name: find_report
SELECT {report_columns} FROM reports WHERE report_id = :report_id AND {seen_by_reader};

-- name: lock_own_report
SELECT {report_columns} FROM reports
WHERE report_id = :report_id AND owner_id = :owner_id AND role = ANY(:roles::smallint[]) AND deleted_at IS NULL
FOR UPDATE;

-- name: share_report
UPDATE reports SET shared_at = :shared_at WHERE report_id = :report_id RETURNING {report_columns};

-- name: delete_report
UPDATE reports SET deleted_at = :deleted_at WHERE report_id = :report_id;

-- name: delete_reports_of_others
UPDATE reports SET deleted_at = :deleted_at
WHERE project_id = :project_id AND role = 3 AND owner_id <> ALL(:keep_owner_ids::uuid[]) AND deleted_at IS NULL;

-- name: claim_report
-- The oldest of whoever has the fewest under way: one owner's many don't keep the others waiting. One whose maker
-- hasn't been heard of for a while is begun anew.
UPDATE reports
SET status = 2, attempt = attempt + 1, heartbeat_at = now(), progress_percent = 0, rows = 0
WHERE report_id = (
    SELECT report_id FROM reports AS waiting
    WHERE deleted_at IS NULL
        AND (status = 1 OR status = 2 AND heartbeat_at < now() - :stale_after::interval)
    ORDER BY (
        SELECT count(*) FROM reports AS running
        WHERE running.owner_id = waiting.owner_id AND running.status = 2
            AND running.heartbeat_at >= now() - :stale_after::interval
    ), created_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING {report_columns};

-- fragment: still_mine
report_id = :report_id AND attempt = :attempt AND status = 2 AND deleted_at IS NULL

-- name: beat
UPDATE reports SET heartbeat_at = now(), progress_percent = :progress_percent, rows = :rows WHERE {still_mine};

-- name: finish_report
UPDATE reports
SET status = 3, progress_percent = 100, size_bytes = :size_bytes, rows = :rows, finished_at = :finished_at,
    expires_at = :expires_at
WHERE {still_mine};

-- name: fail_report
UPDATE reports SET status = 4, error = :error, finished_at = :finished_at WHERE {still_mine};

-- name: plan_each_time
-- A plan for any range would lock every partition.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true);

-- name: find_dropped_day
-- A day of the range whose raw events are in the archive only.
SELECT day FROM archived_days
WHERE day >= :first_day AND day <= :last_day AND dropped_at IS NOT NULL ORDER BY day DESC LIMIT 1;

-- fragment: of_report
WHERE (:consumer_id::uuid IS NULL OR series.consumer_id = :consumer_id)
    AND (:merchant_id::uuid IS NULL OR series.merchant_id = :merchant_id)
    AND (:service_id::uuid IS NULL OR series.service_id = :service_id)
    AND (:project_id::uuid IS NULL OR series.project_id = :project_id)

-- fragment: with_project_names
-- Of those that the consumer is in whose report it is; an admin's report has no such member, and names all.
LEFT JOIN (
    SELECT project_id, name AS project_name FROM projects
    WHERE :member_id::uuid IS NULL OR EXISTS (
        SELECT FROM project_members AS member
        WHERE member.project_id = projects.project_id AND member.user_id = :member_id
    )
) AS named USING (project_id)

-- fragment: usage_lines
SELECT
    bucket_start, status_class, consumer_id, merchant_id, service_id, api_key_id, project_id, project_name, key_prefix,
    requests, billable_requests, errors, request_bytes, response_bytes, request_messages, response_messages,
    response_time_ms_sum, response_time_ms_max,
    (sum(requests) OVER key_day)::bigint AS day_requests, (sum(billable_requests) OVER key_day)::bigint AS day_billable,
    (sum(requests) OVER until_row - requests)::bigint AS requests_before,
    (sum(billable_requests) OVER until_row - billable_requests)::bigint AS billable_before
FROM series
{with_project_names}
JOIN

-- fragment: by_key_and_day
-- A range is a day.
WINDOW key_day AS (PARTITION BY consumer_id, service_id, api_key_id, project_id),
    until_row AS (key_day ORDER BY bucket_start, series_id, status_class ROWS UNBOUNDED PRECEDING)

-- name: lines_of_days
{usage_lines} rollups_by_day USING (series_id)
{of_report} AND bucket_start >= :range_start AND bucket_start < :range_end
{by_key_and_day}
ORDER BY bucket_start, series_id, status_class;

-- name: lines_of_hours
{usage_lines} rollups_by_hour USING (series_id)
{of_report} AND bucket_start >= :range_start AND bucket_start < :range_end
{by_key_and_day}
ORDER BY bucket_start, series_id, status_class;

-- name: lines_of_calls
SELECT
    occurred_at, event_id, request_id, consumer_id, merchant_id, service_id, api_key_id, project_id, project_name,
    key_prefix, status_code, outcome, charge_class, is_test, is_continuation, request_bytes, response_bytes,
    response_time_ms, request_messages, response_messages
FROM series
{with_project_names}
JOIN usage_events USING (series_id)
{of_report} AND occurred_at >= :range_start AND occurred_at < :range_end
ORDER BY occurred_at, event_id;

-- name: reports_to_purge
-- Not those that somebody may be writing.
SELECT {report_columns} FROM reports
WHERE (expires_at < :now OR deleted_at IS NOT NULL)
    AND (status <> 2 OR heartbeat_at < now() - :stale_after::interval)
ORDER BY expires_at LIMIT :limit;

-- name: remove_report
DELETE FROM reports WHERE report_id = :report_id;
