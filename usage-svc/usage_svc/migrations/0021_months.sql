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
