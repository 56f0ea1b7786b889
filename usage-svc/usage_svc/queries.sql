-- name: ensure_partitions
SELECT ensure_usage_partitions(:days::date[]);

-- name: add_events
-- The events of one batch, one array per column: those that are not there yet are inserted, and only they are
-- rolled up and summed for billing. The orders keep two consumers from waiting for each other in a ring.
WITH new_events AS (
    INSERT INTO usage_events (
        event_id, occurred_at, consumer_id, api_key_id, service_id, merchant_id, project_id, price_version_id,
        key_prefix, request_bytes, response_bytes, response_time_ms, status_code, outcome, billable
    )
    SELECT *
    FROM unnest(
        :event_id::uuid[], :occurred_at::timestamptz[], :consumer_id::uuid[], :api_key_id::uuid[],
        :service_id::uuid[], :merchant_id::uuid[], :project_id::uuid[], :price_version_id::uuid[],
        :key_prefix::text[], :request_bytes::bigint[], :response_bytes::bigint[],
        :response_time_ms::integer[], :status_code::smallint[], :outcome::text[], :billable::boolean[]
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
        api_key_id, key_prefix, project_id, status_code / 100 || 'xx', count(*),
        count(*) FILTER (WHERE billable), sum(request_bytes), sum(response_bytes), sum(response_time_ms)
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
)
SELECT
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM') AS period, merchant_id, consumer_id, service_id,
    price_version_id, count(*) AS requests, count(*) FILTER (WHERE billable) AS billable_requests,
    sum(request_bytes)::bigint AS request_bytes, sum(response_bytes)::bigint AS response_bytes
FROM new_events
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5;

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
