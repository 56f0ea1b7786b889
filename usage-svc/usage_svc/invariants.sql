-- What always holds of the schema `usage`: each query returns no row. Minutes and raw events that retention has
-- dropped are in none of them.

-- name: rollups_by_hour_are_those_of_the_day
WITH hours AS (
    SELECT series_id, date_trunc('day', bucket_start, 'UTC') AS bucket_start, status_class, sum(requests) AS requests,
        sum(billable_requests) AS billable_requests, sum(errors) AS errors, sum(request_bytes) AS request_bytes,
        sum(response_bytes) AS response_bytes, sum(response_time_ms_sum) AS response_time_ms_sum,
        min(response_time_ms_min) AS least, max(response_time_ms_max) AS greatest, sum(latencies) AS latencies,
        sum(request_messages) AS request_messages, sum(response_messages) AS response_messages
    FROM rollups_by_hour
    GROUP BY 1, 2, 3
)
SELECT series_id, bucket_start, status_class
FROM rollups_by_day AS days
FULL JOIN hours USING (series_id, bucket_start, status_class)
WHERE (hours.requests, hours.billable_requests, hours.errors, hours.request_bytes, hours.response_bytes,
        hours.response_time_ms_sum, hours.least, hours.greatest, hours.latencies, hours.request_messages,
        hours.response_messages)
    IS DISTINCT FROM (days.requests, days.billable_requests, days.errors, days.request_bytes,
        days.response_bytes, days.response_time_ms_sum, days.response_time_ms_min, days.response_time_ms_max,
        days.latencies, days.request_messages, days.response_messages);

-- name: rollups_by_day_are_those_of_the_month
WITH days AS (
    SELECT series_id, date_trunc('month', bucket_start, 'UTC') AS bucket_start, status_class, sum(requests) AS requests,
        sum(billable_requests) AS billable_requests, sum(errors) AS errors, sum(request_bytes) AS request_bytes,
        sum(response_bytes) AS response_bytes, sum(response_time_ms_sum) AS response_time_ms_sum,
        min(response_time_ms_min) AS least, max(response_time_ms_max) AS greatest, sum(latencies) AS latencies,
        sum(request_messages) AS request_messages, sum(response_messages) AS response_messages
    FROM rollups_by_day
    GROUP BY 1, 2, 3
)
SELECT series_id, bucket_start, status_class
FROM rollups_by_month AS months
FULL JOIN days USING (series_id, bucket_start, status_class)
WHERE (days.requests, days.billable_requests, days.errors, days.request_bytes, days.response_bytes,
        days.response_time_ms_sum, days.least, days.greatest, days.latencies, days.request_messages,
        days.response_messages)
    IS DISTINCT FROM (months.requests, months.billable_requests, months.errors, months.request_bytes,
        months.response_bytes, months.response_time_ms_sum, months.response_time_ms_min, months.response_time_ms_max,
        months.latencies, months.request_messages, months.response_messages);

-- name: rollups_by_minute_are_those_of_the_hour
-- Of hours whose minutes are kept.
WITH minutes AS (
    SELECT series_id, date_trunc('hour', bucket_start, 'UTC') AS bucket_start, status_class, sum(requests) AS requests,
        sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes, sum(latencies) AS latencies
    FROM rollups_by_minute
    GROUP BY 1, 2, 3
)
SELECT series_id, bucket_start, status_class
FROM minutes LEFT JOIN rollups_by_hour AS hours USING (series_id, bucket_start, status_class)
WHERE (minutes.requests, minutes.request_bytes, minutes.response_bytes, minutes.latencies)
    IS DISTINCT FROM (hours.requests, hours.request_bytes, hours.response_bytes, hours.latencies);

-- name: consumers_sums_are_those_of_their_series
-- By hour: days and months are those of hours.
WITH hours AS (
    SELECT consumer_sums.series_id, bucket_start, status_class, sum(requests) AS requests,
        sum(billable_requests) AS billable_requests, sum(errors) AS errors, sum(request_bytes) AS request_bytes,
        sum(response_bytes) AS response_bytes, sum(response_time_ms_sum) AS response_time_ms_sum,
        min(response_time_ms_min) AS least, max(response_time_ms_max) AS greatest, sum(latencies) AS latencies,
        sum(request_messages) AS request_messages, sum(response_messages) AS response_messages
    FROM consumer_sums
    JOIN series USING (consumer_id)
    JOIN rollups_by_hour AS hour ON hour.series_id = series.series_id
    GROUP BY 1, 2, 3
), kept AS (
    SELECT rollups_by_hour.* FROM rollups_by_hour JOIN consumer_sums USING (series_id)
)
SELECT series_id, bucket_start, status_class
FROM kept
FULL JOIN hours USING (series_id, bucket_start, status_class)
WHERE (hours.requests, hours.billable_requests, hours.errors, hours.request_bytes, hours.response_bytes,
        hours.response_time_ms_sum, hours.least, hours.greatest, hours.latencies, hours.request_messages,
        hours.response_messages)
    IS DISTINCT FROM (kept.requests, kept.billable_requests, kept.errors, kept.request_bytes, kept.response_bytes,
        kept.response_time_ms_sum, kept.response_time_ms_min, kept.response_time_ms_max, kept.latencies,
        kept.request_messages, kept.response_messages);

-- name: consumers_with_many_series_have_a_sum
SELECT consumer_id FROM series GROUP BY consumer_id HAVING count(*) >= 4 EXCEPT SELECT consumer_id FROM consumer_sums;

-- name: day_totals_are_those_of_rollups
WITH totals AS (
    SELECT series_id, day, sum(requests) AS requests, sum(request_bytes) AS request_bytes,
        sum(response_bytes) AS response_bytes,
        sum(requests) FILTER (WHERE charge_class <> 4 AND NOT is_test) AS billable_requests
    FROM day_totals
    GROUP BY 1, 2
), days AS (
    SELECT series_id, (bucket_start AT TIME ZONE 'UTC')::date AS day, sum(requests) AS requests,
        sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes,
        sum(billable_requests) AS billable_requests
    FROM rollups_by_day JOIN series USING (series_id)
    GROUP BY 1, 2
)
SELECT series_id, day
FROM totals FULL JOIN days USING (series_id, day)
WHERE (totals.requests, totals.request_bytes, totals.response_bytes, coalesce(totals.billable_requests, 0))
    IS DISTINCT FROM (days.requests, days.request_bytes, days.response_bytes, days.billable_requests);

-- name: raw_events_are_those_of_day_totals
-- Of days whose raw events are kept.
WITH raw AS (
    SELECT series_id, (occurred_at AT TIME ZONE 'UTC')::date AS day, charge_class, is_test,
        count(*) AS events, count(*) FILTER (WHERE NOT is_continuation) AS requests,
        sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes
    FROM usage_events
    GROUP BY 1, 2, 3, 4
)
SELECT series_id, day, charge_class, is_test
FROM raw LEFT JOIN day_totals AS totals USING (series_id, day, charge_class, is_test)
WHERE (raw.events, raw.requests, raw.request_bytes, raw.response_bytes)
    IS DISTINCT FROM (totals.events, totals.requests, totals.request_bytes, totals.response_bytes);

-- name: day_totals_know_how_far_their_sources_were_read
-- By what they say of it invoices tell whose events they count.
WITH raw AS (
    SELECT series_id, (occurred_at AT TIME ZONE 'UTC')::date AS day, charge_class, is_test, source_id,
        max(source_offset) AS last_offset
    FROM usage_events
    GROUP BY 1, 2, 3, 4, 5
)
SELECT series_id, day, charge_class, is_test, source_id
FROM raw LEFT JOIN day_totals AS totals USING (series_id, day, charge_class, is_test)
WHERE raw.last_offset IS DISTINCT FROM (totals.last_offsets ->> raw.source_id::text)::bigint;

-- name: events_lie_before_the_offset_that_is_read_next
-- A message that was replayed lies there too.
SELECT sources.name, max(usage_events.source_offset)
FROM usage_events
JOIN sources USING (source_id)
JOIN consumer_offsets ON sources.name = consumer_offsets.incarnation || '/' || consumer_offsets.partition
WHERE consumer_offsets.topic LIKE '%usage.events'
GROUP BY sources.name, consumer_offsets.next_offset
HAVING max(usage_events.source_offset) >= consumer_offsets.next_offset;

-- name: everything_has_a_series
SELECT series_id FROM rollups_by_day
UNION SELECT series_id FROM day_totals
EXCEPT (SELECT series_id FROM series UNION SELECT series_id FROM consumer_sums);

-- name: no_journal_has_more_events_than_numbers
SELECT journal_id, events, highest_sequence FROM journals WHERE events > highest_sequence;
