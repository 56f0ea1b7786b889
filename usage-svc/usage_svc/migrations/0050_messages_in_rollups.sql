-- How many messages WebSockets have carried, in sums too; of what was counted before this, none.
ALTER TABLE rollups_by_minute
    ADD COLUMN request_messages bigint NOT NULL DEFAULT 0,
    ADD COLUMN response_messages bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT rollups_by_minute_messages CHECK (request_messages >= 0 AND response_messages >= 0) NOT VALID;
ALTER TABLE rollups_by_hour
    ADD COLUMN request_messages bigint NOT NULL DEFAULT 0,
    ADD COLUMN response_messages bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT rollups_by_hour_messages CHECK (request_messages >= 0 AND response_messages >= 0) NOT VALID;
ALTER TABLE rollups_by_day
    ADD COLUMN request_messages bigint NOT NULL DEFAULT 0,
    ADD COLUMN response_messages bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT rollups_by_day_messages CHECK (request_messages >= 0 AND response_messages >= 0) NOT VALID;
ALTER TABLE rollups_by_month
    ADD COLUMN request_messages bigint NOT NULL DEFAULT 0,
    ADD COLUMN response_messages bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT rollups_by_month_messages CHECK (request_messages >= 0 AND response_messages >= 0) NOT VALID;

CREATE OR REPLACE FUNCTION begin_consumer_sums(consumers uuid[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    begun uuid[];
    level text;
BEGIN
    WITH added AS (
        INSERT INTO consumer_sums (consumer_id, series_id)
        SELECT consumer_id, ('x' || left(encode(sha256(convert_to(consumer_id::text, 'UTF8')), 'hex'), 16))::bit(64)::bigint
        FROM series WHERE consumer_id = ANY(consumers)
        GROUP BY consumer_id HAVING count(*) >= 4
        ON CONFLICT DO NOTHING
        RETURNING consumer_id
    )
    SELECT array_agg(consumer_id) INTO begun FROM added;
    FOREACH level IN ARRAY ARRAY['hour', 'day', 'month'] LOOP
        EXECUTE format(
            'INSERT INTO %I (
                series_id, bucket_start, status_class, requests, billable_requests, errors, request_bytes,
                response_bytes, response_time_ms_sum, response_time_ms_min, response_time_ms_max, latencies,
                request_messages, response_messages
            )
            SELECT
                consumer_sums.series_id, bucket_start, status_class, sum(requests), sum(billable_requests), sum(errors),
                sum(request_bytes), sum(response_bytes), sum(response_time_ms_sum), min(response_time_ms_min),
                max(response_time_ms_max), sum(latencies), sum(request_messages), sum(response_messages)
            FROM consumer_sums
            JOIN series USING (consumer_id)
            JOIN %I AS kept ON kept.series_id = series.series_id
            WHERE consumer_id = ANY($1)
            GROUP BY 1, 2, 3',
            'rollups_by_' || level, 'rollups_by_' || level
        ) USING begun;
    END LOOP;
    RETURN coalesce(cardinality(begun), 0);
END
$$;
