-- name: plan_each_time
-- A plan for any range would lock every partition, and compiling a query takes longer than these do.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true);

-- name: sum_by_hashing
-- Whatever the planner thinks of how many rows there are: to sort them with their histograms takes twice as long, and
-- where a table is small it would rather read all of it, once for each series.
SELECT
    set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
    set_config('work_mem', '64MB', true);

-- fragment: series_that_fit
SELECT series_id, consumer_id, merchant_id, service_id, api_key_id, project_id, key_prefix
FROM series
WHERE (:service_id::uuid IS NULL OR service_id = :service_id)
    AND (:api_key_id::uuid IS NULL OR api_key_id = :api_key_id)
    AND (:project_id::uuid IS NULL OR project_id = :project_id)

-- name: series_of_consumer
{series_that_fit}
    AND consumer_id = :consumer_id AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id);

-- name: series_of_project
-- A consumer's question about a project: all of it for who has a role in it, else what they have paid for themselves.
{series_that_fit}
    AND project_id = :project_id AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
    AND (
        consumer_id = :consumer_id
        OR EXISTS (
            SELECT FROM project_members AS member
            WHERE member.project_id = :project_id AND member.user_id = :consumer_id AND role = ANY(:roles::smallint[])
        )
    );

-- name: series_of_merchant
{series_that_fit}
    AND merchant_id = :merchant_id AND (:consumer_id::uuid IS NULL OR consumer_id = :consumer_id);

-- name: series_of_platform
{series_that_fit}
    AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
    AND (:consumer_id::uuid IS NULL OR consumer_id = :consumer_id);

-- name: series_by_ids
SELECT series_id, consumer_id, merchant_id, service_id, api_key_id, project_id, key_prefix
FROM series WHERE series_id = ANY(:series_ids::bigint[]);

-- name: sums_of_consumers
SELECT consumer_id, series_id FROM consumer_sums WHERE consumer_id = ANY(:consumer_ids::uuid[]);

-- name: oldest_minute
SELECT min(bucket_start) FROM rollups_by_minute;

-- fragment: usage_by_series
-- Of each series how many requests there were in some stretches of time, or less them where the sign is -1.
SELECT wanted.series_id, sum(scan.sign * read.requests)::bigint AS requests
FROM unnest(:series_ids::bigint[]) AS wanted (series_id)
CROSS JOIN unnest(:scan_starts::timestamptz[], :scan_ends::timestamptz[], :scan_signs::bigint[])
    AS scan (scan_start, scan_end, sign)
CROSS JOIN LATERAL (
    SELECT requests FROM

-- fragment: usage_by_slot
-- Of each slot of time and group what there was, in some stretches of time.
SELECT
    width_bucket(read.bucket_start, :slot_starts::timestamptz[]) AS slot,
    wanted.group_no + (:group_of_class::integer[])[read.status_class] AS group_no,
    sum(read.requests)::bigint AS requests, sum(read.billable_requests)::bigint AS billable_requests,
    sum(read.errors)::bigint AS errors, sum(read.request_bytes)::bigint AS request_bytes,
    sum(read.response_bytes)::bigint AS response_bytes,
    sum(read.response_time_ms_sum)::bigint AS response_time_ms_sum,
    sum(read.request_messages)::bigint AS request_messages, sum(read.response_messages)::bigint AS response_messages,
    numeric_send(sum(read.latencies)) AS latencies
FROM unnest(:series_ids::bigint[], :group_nos::integer[]) AS wanted (series_id, group_no)
CROSS JOIN unnest(:scan_starts::timestamptz[], :scan_ends::timestamptz[]) AS scan (scan_start, scan_end)
CROSS JOIN LATERAL (
    SELECT * FROM

-- fragment: used_series
-- Those of which there is anything in a stretch of time: of each the first row tells.
SELECT wanted.series_id
FROM unnest(:series_ids::bigint[]) AS wanted (series_id)
CROSS JOIN LATERAL (
    SELECT FROM

-- fragment: where_used
    -- Compared as rows: so only the index of series will do, from its first row to its last. The one of times looks as
    -- good to the planner, which knows little of stretches, and would read everybody's rows.
    WHERE (series_id, bucket_start) >= (wanted.series_id, :range_start)
        AND (series_id, bucket_start) < (wanted.series_id, :range_end)
        AND status_class = ANY(:status_classes::smallint[])

-- fragment: first_is_enough
    LIMIT 1
) AS found

-- fragment: where_asked
    -- As rows, as above.
    WHERE (series_id, bucket_start) >= (wanted.series_id, scan.scan_start)
        AND (series_id, bucket_start) < (wanted.series_id, scan.scan_end)
        AND status_class = ANY(:status_classes::smallint[])

-- fragment: in_partitions
    -- What is known when the query is planned: partitions that can't be meant are left out.
        AND bucket_start >= :range_start AND bucket_start < :range_end

-- fragment: one_look_each
    -- One look into the index for each series and stretch, whatever the planner thinks of how many there are.
    OFFSET 0
) AS read

-- name: used_series_of_months
{used_series} rollups_by_month {where_used} {first_is_enough};

-- name: used_series_of_days
{used_series} rollups_by_day {where_used} {first_is_enough};

-- name: used_series_of_hours
{used_series} rollups_by_hour {where_used} {first_is_enough};

-- name: used_series_of_minutes
{used_series} rollups_by_minute {where_used} {in_partitions} {first_is_enough};

-- name: usage_by_series_of_months
{usage_by_series} rollups_by_month {where_asked} {one_look_each} GROUP BY 1;

-- name: usage_by_series_of_days
{usage_by_series} rollups_by_day {where_asked} {one_look_each} GROUP BY 1;

-- name: usage_by_series_of_hours
{usage_by_series} rollups_by_hour {where_asked} {one_look_each} GROUP BY 1;

-- name: usage_by_series_of_minutes
{usage_by_series} rollups_by_minute {where_asked} {in_partitions} {one_look_each} GROUP BY 1;

-- name: usage_by_slot_of_months
{usage_by_slot} rollups_by_month {where_asked} {one_look_each} GROUP BY 1, 2;

-- name: usage_by_slot_of_days
{usage_by_slot} rollups_by_day {where_asked} {one_look_each} GROUP BY 1, 2;

-- name: usage_by_slot_of_hours
{usage_by_slot} rollups_by_hour {where_asked} {one_look_each} GROUP BY 1, 2;

-- name: usage_by_slot_of_minutes
{usage_by_slot} rollups_by_minute {where_asked} {in_partitions} {one_look_each} GROUP BY 1, 2;

-- fragment: call_columns
event_id, occurred_at, series_id, request_bytes, response_bytes, response_time_ms, status_code, outcome, charge_class,
is_continuation, is_test, request_id, request_messages, response_messages

-- fragment: and_asked
    AND status_code / 100 = ANY(:status_classes::smallint[]) AND response_time_ms >= :min_response_time_ms
    -- The second says it as the index does, and as partitions are told apart.
    AND (occurred_at, event_id) < (:before_at, :before_id) AND occurred_at <= :before_at

-- fragment: newest_first
ORDER BY occurred_at DESC, event_id DESC LIMIT :limit

-- name: calls_of_series
-- The newest of each series, and the newest of these: one series that is quiet keeps nobody reading.
SELECT found.*
FROM unnest(:series_ids::bigint[]) AS wanted (series_id)
CROSS JOIN LATERAL (
    SELECT {call_columns} FROM usage_events
    WHERE series_id = wanted.series_id AND occurred_at >= :range_start {and_asked}
    {newest_first}
) AS found
{newest_first};

-- name: calls_of_platform
SELECT {call_columns} FROM usage_events
WHERE occurred_at >= :range_start {and_asked}
{newest_first};

-- name: calls_by_request_id
-- Of the calls of any day that is kept: those that told this id, and the one whose event has it and told none.
SELECT {call_columns} FROM (
    SELECT * FROM usage_events WHERE request_id = :request_id
    UNION ALL
    SELECT * FROM usage_events WHERE event_id = :event_id::uuid AND request_id IS NULL
) AS named
WHERE occurred_at >= :range_start AND (:series_ids::bigint[] IS NULL OR series_id = ANY(:series_ids)) {and_asked}
{newest_first};
