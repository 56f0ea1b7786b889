-- name: ensure_partitions
SELECT ensure_usage_partitions(:days::date[]);

-- name: add_events
-- The events of one batch, one array per column: those that are not there yet are inserted, and only they are
-- rolled up and summed for billing. The orders keep two consumers from waiting for each other in a ring.
WITH new_events AS (
    INSERT INTO usage_events (
        event_id, occurred_at, consumer_id, api_key_id, service_id, merchant_id, project_id, price_version_id,
        key_prefix, request_bytes, response_bytes, response_time_ms, status_code, outcome, billable, journal_id,
        sequence, is_continuation, request_messages, response_messages, request_id, is_test
    )
    SELECT *
    FROM unnest(
        :event_id::uuid[], :occurred_at::timestamptz[], :consumer_id::uuid[], :api_key_id::uuid[],
        :service_id::uuid[], :merchant_id::uuid[], :project_id::uuid[], :price_version_id::uuid[],
        :key_prefix::text[], :request_bytes::bigint[], :response_bytes::bigint[],
        :response_time_ms::integer[], :status_code::smallint[], :outcome::text[], :billable::boolean[],
        :journal_id::uuid[], :sequence::bigint[], :is_continuation::boolean[], :request_messages::bigint[],
        :response_messages::bigint[], :request_id::text[], :is_test::boolean[]
    ) AS batch (event_id)
    ORDER BY batch.event_id
    ON CONFLICT DO NOTHING
    RETURNING *
), rolled_up AS (
    INSERT INTO usage_rollups AS rollup (
        granularity, bucket_start, consumer_id, merchant_id, service_id, api_key_id, key_prefix, project_id,
        status_class, requests, billable_requests, request_bytes, response_bytes, response_time_ms_sum
    )
    SELECT
        g.granularity, date_trunc(g.granularity, occurred_at, 'UTC'), consumer_id, merchant_id, service_id,
        api_key_id, key_prefix, project_id, status_code / 100 || 'xx',
        count(*) FILTER (WHERE NOT is_continuation), count(*) FILTER (WHERE billable), sum(request_bytes),
        sum(response_bytes), coalesce(sum(response_time_ms) FILTER (WHERE NOT is_continuation), 0)
    FROM new_events CROSS JOIN (VALUES ('minute'), ('hour'), ('day')) AS g (granularity)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ON CONFLICT (
        granularity, bucket_start, consumer_id, merchant_id, service_id, api_key_id, key_prefix, project_id,
        status_class
    ) DO UPDATE SET
        requests = rollup.requests + excluded.requests,
        billable_requests = rollup.billable_requests + excluded.billable_requests,
        request_bytes = rollup.request_bytes + excluded.request_bytes,
        response_bytes = rollup.response_bytes + excluded.response_bytes,
        response_time_ms_sum = rollup.response_time_ms_sum + excluded.response_time_ms_sum
), numbered AS (
    INSERT INTO journal_counts AS counted (journal_id, block, shard, highest_sequence, events, counted_at)
    SELECT journal_id, (sequence - 1) >> 20, pg_backend_pid() % 64, max(sequence), count(*), now()
    FROM new_events
    WHERE journal_id IS NOT NULL
    GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT (journal_id, block, shard) DO UPDATE SET
        highest_sequence = greatest(counted.highest_sequence, excluded.highest_sequence),
        events = counted.events + excluded.events,
        counted_at = excluded.counted_at
)
SELECT
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM') AS period, merchant_id, consumer_id, service_id,
    price_version_id, count(*) FILTER (WHERE NOT is_continuation) AS requests,
    count(*) FILTER (WHERE billable) AS billable_requests, sum(request_bytes)::bigint AS request_bytes,
    sum(response_bytes)::bigint AS response_bytes
FROM new_events
-- Billing doesn't hear of calls with test keys: a price per megabyte must not rate their bytes either.
WHERE NOT is_test
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5;

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

-- fragment: sums_by_bucket_and_group
SELECT
    bucket_start,
    CASE :group_by::text
        WHEN 'service' THEN service_id::text WHEN 'key' THEN key_prefix WHEN 'status_class' THEN status_class
        ELSE ''
    END AS group_name,
    sum(requests)::bigint AS requests, sum(billable_requests)::bigint AS billable_requests,
    sum(request_bytes)::bigint AS request_bytes, sum(response_bytes)::bigint AS response_bytes,
    sum(response_time_ms_sum)::bigint AS response_time_ms_sum
FROM usage_rollups
WHERE granularity = :granularity AND bucket_start >= :range_start AND bucket_start < :range_end
    AND (:service_id::uuid IS NULL OR service_id = :service_id)

-- fragment: in_order
GROUP BY 1, 2
ORDER BY 1, 2
LIMIT :max_rows

-- name: usage_of_consumer
{sums_by_bucket_and_group}
    AND consumer_id = :consumer_id
    AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
    AND (:api_key_id::uuid IS NULL OR api_key_id = :api_key_id)
{in_order};

-- name: usage_of_merchant
{sums_by_bucket_and_group}
    AND merchant_id = :merchant_id
    AND (:key_prefix::text IS NULL OR key_prefix = :key_prefix)
{in_order};

-- name: usage_of_platform
{sums_by_bucket_and_group}
{in_order};
