-- Usage by UTC month, so that questions about a year read twelve rows of a series where days were 365. Moved with days,
-- in the transaction that inserts the events.
CREATE TABLE rollups_by_month (
    LIKE rollups_by_day INCLUDING DEFAULTS,
    PRIMARY KEY (series_id, bucket_start, status_class),
    CHECK (bucket_start = date_trunc('month', bucket_start, 'UTC'))
) WITH (fillfactor = 70);

-- Nobody counts meanwhile: what came between the sums and the commit would be in no month.
LOCK TABLE rollups_by_day IN SHARE MODE;
INSERT INTO rollups_by_month (
    series_id, bucket_start, status_class, requests, billable_requests, errors, request_bytes, response_bytes,
    response_time_ms_sum, response_time_ms_min, response_time_ms_max, latencies
)
SELECT
    series_id, date_trunc('month', bucket_start, 'UTC'), status_class, sum(requests), sum(billable_requests), sum(errors),
    sum(request_bytes), sum(response_bytes), sum(response_time_ms_sum), min(response_time_ms_min),
    max(response_time_ms_max), sum(latencies)
FROM rollups_by_day
GROUP BY 1, 2, 3;

-- Consumers whose usage as a whole is kept too: in the rollups by hour, day and month, as a series of its own, whose id
-- is a digest of the consumer's. Questions about all of a consumer's usage then read one series. It is begun with a
-- consumer's fourth series; of fewer the sum would cost what it saves.
CREATE TABLE consumer_sums (
    consumer_id uuid PRIMARY KEY,
    series_id bigint NOT NULL UNIQUE
);

-- Begins the sums of those of `consumers` that have series enough, with what is kept of these. Whoever counts holds a
-- lock on consumer_sums since it looked which sums there are, so the caller locks the table first.
CREATE FUNCTION begin_consumer_sums(consumers uuid[]) RETURNS integer
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
                response_bytes, response_time_ms_sum, response_time_ms_min, response_time_ms_max, latencies
            )
            SELECT
                consumer_sums.series_id, bucket_start, status_class, sum(requests), sum(billable_requests), sum(errors),
                sum(request_bytes), sum(response_bytes), sum(response_time_ms_sum), min(response_time_ms_min),
                max(response_time_ms_max), sum(latencies)
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

SELECT begin_consumer_sums(ARRAY(SELECT DISTINCT consumer_id FROM series));
