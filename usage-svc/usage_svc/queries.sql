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

-- name: may_begin_sums
-- Those of some consumers that have series enough for a sum of them, and no sum yet.
SELECT consumer_id FROM series
WHERE consumer_id = ANY(:consumer_ids::uuid[])
    AND NOT EXISTS (SELECT FROM consumer_sums WHERE consumer_sums.consumer_id = series.consumer_id)
GROUP BY consumer_id HAVING count(*) >= 4;

-- name: wait_for_others_who_count
-- Until they have committed: they know nothing of the sums that are begun now. Others wait from here on.
LOCK TABLE consumer_sums IN EXCLUSIVE MODE;

-- name: begin_sums
SELECT begin_consumer_sums(:consumer_ids::uuid[]);

-- name: sums_of_series
-- Under which series the sum is kept to which some series belong. Locked: no sum is begun before the commit.
SELECT series.series_id, consumer_sums.series_id AS sum_id
FROM series JOIN consumer_sums USING (consumer_id)
WHERE series.series_id = ANY(:series_ids::bigint[])
FOR KEY SHARE OF consumer_sums;

-- name: begin_adding
-- The commit won't wait for the disk: should the server lose it with its machine, the offset is lost with it, and all of
-- it is read again (docs/decisions/0026). Says whether this connection has its table for staging.
SELECT set_config('synchronous_commit', 'off', true) = 'off' AND to_regclass('pg_temp.staged_rollups') IS NOT NULL;

-- name: make_room_for_staging
-- Of what doesn't fit, pages are written to the disk and read again for each level. Only what is needed is taken.
SELECT set_config('temp_buffers', '64MB', false);

-- name: make_staging
-- Rows come into it by COPY, which is far less work than arrays, and are gone with the commit. A histogram fits into a
-- page as it is: a table for longer ones would have to be emptied with each commit too.
CREATE TEMPORARY TABLE staged_rollups (
    level smallint NOT NULL,
    series_id bigint NOT NULL,
    bucket_start timestamptz NOT NULL,
    status_class smallint NOT NULL,
    requests bigint NOT NULL,
    billable_requests bigint NOT NULL,
    errors bigint NOT NULL,
    request_bytes bigint NOT NULL,
    response_bytes bigint NOT NULL,
    response_time_ms_sum bigint NOT NULL,
    request_messages bigint NOT NULL,
    response_messages bigint NOT NULL,
    response_time_ms_min integer NOT NULL,
    response_time_ms_max integer NOT NULL,
    latencies numeric STORAGE PLAIN NOT NULL
) ON COMMIT DELETE ROWS;

-- fragment: rollup_columns
series_id, bucket_start, status_class, requests, billable_requests, errors, request_bytes, response_bytes,
response_time_ms_sum, request_messages, response_messages, response_time_ms_min, response_time_ms_max, latencies

-- fragment: staged
SELECT
    series_id, bucket_start, status_class, requests, billable_requests, errors, request_bytes, response_bytes,
    response_time_ms_sum, request_messages, response_messages, CASE WHEN requests > 0 THEN response_time_ms_min END,
    CASE WHEN requests > 0 THEN response_time_ms_max END, latencies
FROM staged_rollups

-- fragment: are_added
ON CONFLICT (series_id, bucket_start, status_class) DO UPDATE SET
    requests = rollup.requests + excluded.requests,
    billable_requests = rollup.billable_requests + excluded.billable_requests,
    errors = rollup.errors + excluded.errors,
    request_bytes = rollup.request_bytes + excluded.request_bytes,
    response_bytes = rollup.response_bytes + excluded.response_bytes,
    response_time_ms_sum = rollup.response_time_ms_sum + excluded.response_time_ms_sum,
    request_messages = rollup.request_messages + excluded.request_messages,
    response_messages = rollup.response_messages + excluded.response_messages,
    response_time_ms_min = least(rollup.response_time_ms_min, excluded.response_time_ms_min),
    response_time_ms_max = greatest(rollup.response_time_ms_max, excluded.response_time_ms_max),
    latencies = rollup.latencies + excluded.latencies

-- name: add_to_rollups
-- One statement for all: every process locks rows in the order in which it says them.
WITH minutes AS (
    INSERT INTO rollups_by_minute AS rollup ({rollup_columns}) {staged} WHERE level = 0 {are_added}
), hours AS (
    INSERT INTO rollups_by_hour AS rollup ({rollup_columns}) {staged} WHERE level = 1 {are_added}
), days AS (
    INSERT INTO rollups_by_day AS rollup ({rollup_columns}) {staged} WHERE level = 2 {are_added}
)
INSERT INTO rollups_by_month AS rollup ({rollup_columns}) {staged} WHERE level = 3 {are_added};

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
