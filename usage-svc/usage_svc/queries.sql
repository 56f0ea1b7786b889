-- name: ensure_partitions
SELECT ensure_usage_partitions(:days::date[]);

-- name: archived_through
-- The last day whose raw events are in the archive alone.
SELECT max(day) FROM archived_days WHERE dropped_at IS NOT NULL;

-- name: wait_briefly
-- Who waits for a lock on a table keeps all others from it who come later: rather give up, and try again.
SELECT set_config('lock_timeout', '500ms', true);

-- name: find_source
SELECT source_id FROM sources WHERE name = :name;

-- name: add_source
INSERT INTO sources (name) VALUES (:name) ON CONFLICT DO NOTHING;

-- name: unknown_series
SELECT series_id FROM unnest(:series_ids::bigint[]) AS wanted (series_id)
WHERE NOT EXISTS (SELECT FROM series WHERE series.series_id = wanted.series_id);

-- name: add_series
-- Another process may have added one meanwhile. Two series with one id, which are as good as impossible, fail.
INSERT INTO series (series_id, consumer_id, merchant_id, service_id, api_key_id, project_id, key_prefix)
SELECT *
FROM unnest(
    :series_id::bigint[], :consumer_id::uuid[], :merchant_id::uuid[], :service_id::uuid[], :api_key_id::uuid[],
    :project_id::uuid[], :key_prefix::text[]
)
ON CONFLICT (consumer_id, merchant_id, service_id, api_key_id, project_id) DO NOTHING;

-- fragment: add_to_rollups
(
    series_id, bucket_start, status_class, requests, billable_requests, errors, request_bytes, response_bytes,
    response_time_ms_sum, response_time_ms_min, response_time_ms_max, latencies
)
SELECT
    series_id, bucket_start, status_class, requests, billable_requests, errors, request_bytes, response_bytes,
    response_time_ms_sum, response_time_ms_min, response_time_ms_max, latencies::numeric
FROM unnest(
    :series_id::bigint[], :bucket_start::timestamptz[], :status_class::smallint[], :requests::bigint[],
    :billable_requests::bigint[], :errors::bigint[], :request_bytes::bigint[], :response_bytes::bigint[],
    :response_time_ms_sum::bigint[], :response_time_ms_min::integer[], :response_time_ms_max::integer[],
    :latencies::text[]
) AS added (
    series_id, bucket_start, status_class, requests, billable_requests, errors, request_bytes, response_bytes,
    response_time_ms_sum, response_time_ms_min, response_time_ms_max, latencies
)
ON CONFLICT (series_id, bucket_start, status_class) DO UPDATE SET
    requests = rollup.requests + excluded.requests,
    billable_requests = rollup.billable_requests + excluded.billable_requests,
    errors = rollup.errors + excluded.errors,
    request_bytes = rollup.request_bytes + excluded.request_bytes,
    response_bytes = rollup.response_bytes + excluded.response_bytes,
    response_time_ms_sum = rollup.response_time_ms_sum + excluded.response_time_ms_sum,
    response_time_ms_min = least(rollup.response_time_ms_min, excluded.response_time_ms_min),
    response_time_ms_max = greatest(rollup.response_time_ms_max, excluded.response_time_ms_max),
    latencies = rollup.latencies + excluded.latencies

-- name: add_to_minutes
INSERT INTO rollups_by_minute AS rollup {add_to_rollups};

-- name: add_to_hours
INSERT INTO rollups_by_hour AS rollup {add_to_rollups};

-- name: add_to_days
INSERT INTO rollups_by_day AS rollup {add_to_rollups};

-- name: add_to_day_totals
-- Returns what the groups that are billed come to now. Whoever adds to a group waits for whoever has just done so: of
-- any two totals of a group, the later has all that the earlier has.
WITH grown AS (
    INSERT INTO day_totals AS total (
        series_id, day, charge_class, is_test, events, requests, request_bytes, response_bytes, last_offsets
    )
    SELECT
        series_id, day, charge_class, is_test, events, requests, request_bytes, response_bytes,
        jsonb_build_object(:source_id::integer, last_offset)
    FROM unnest(
        :series_id::bigint[], :day::date[], :charge_class::smallint[], :is_test::boolean[], :events::bigint[],
        :requests::bigint[], :request_bytes::bigint[], :response_bytes::bigint[], :last_offset::bigint[]
    ) AS added (
        series_id, day, charge_class, is_test, events, requests, request_bytes, response_bytes, last_offset
    )
    ON CONFLICT (series_id, day, charge_class, is_test) DO UPDATE SET
        events = total.events + excluded.events,
        requests = total.requests + excluded.requests,
        request_bytes = total.request_bytes + excluded.request_bytes,
        response_bytes = total.response_bytes + excluded.response_bytes,
        -- A source is read in its order: its latest offset is the greatest.
        last_offsets = total.last_offsets || excluded.last_offsets
    RETURNING *
)
SELECT
    series_id, day, charge_class, events, requests, request_bytes, response_bytes, last_offsets::text AS last_offsets
FROM grown WHERE NOT is_test;

-- name: list_sources
SELECT source_id, name FROM sources;

-- name: add_to_journals
INSERT INTO journal_counts AS counted (journal_id, block, shard, highest_sequence, events, counted_at)
SELECT journal_id, block, pg_backend_pid() % 64, highest_sequence, events, now()
FROM unnest(:journal_id::uuid[], :block::bigint[], :highest_sequence::bigint[], :events::bigint[])
    AS added (journal_id, block, highest_sequence, events)
ON CONFLICT (journal_id, block, shard) DO UPDATE SET
    highest_sequence = greatest(counted.highest_sequence, excluded.highest_sequence),
    events = counted.events + excluded.events,
    counted_at = excluded.counted_at;

-- name: mark_late
INSERT INTO late_usage (series_id) SELECT unnest(:series_ids::bigint[]);

-- name: keep_greatest_forwarded
INSERT INTO forwarded_totals AS total (journal_id, day, merchant_id, consumer_id, events)
SELECT *
FROM unnest(:journal_id::uuid[], :day::date[], :merchant_id::uuid[], :consumer_id::uuid[], :events::bigint[])
ON CONFLICT (journal_id, day, merchant_id, consumer_id) DO UPDATE SET events = excluded.events
WHERE excluded.events > total.events;

-- name: journal_gaps
-- Journals of which numbers are missing up to the last block that is settled.
WITH blocks AS (
    SELECT journal_id, block, max(highest_sequence) AS highest_sequence, sum(events) AS events,
        max(counted_at) AS counted_at
    FROM journal_counts
    GROUP BY 1, 2
), settled AS (
    SELECT journal_id, max(block) AS block, max(highest_sequence) AS highest_sequence
    FROM blocks
    WHERE counted_at < :counted_before::timestamptz
    GROUP BY 1
    HAVING max(counted_at) > :counted_after::timestamptz
)
SELECT journal_id, settled.highest_sequence, (settled.highest_sequence - sum(blocks.events))::bigint AS missing
FROM settled JOIN blocks USING (journal_id)
WHERE blocks.block <= settled.block
GROUP BY 1, 2
HAVING settled.highest_sequence > sum(blocks.events)
ORDER BY 1;
