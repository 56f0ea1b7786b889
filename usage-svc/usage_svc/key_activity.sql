-- What was done with keys.

-- name: list_key_activity
-- A key's days are few rows for each service it calls; only its last day is looked at more closely. Minutes of long
-- ago are gone: then the hour has to do.
SELECT series.api_key_id, sum(days.requests)::bigint AS requests,
       max(coalesce(minutes.last_start, hours.last_start, days.last_start)) AS last_used_at
  FROM series
  JOIN LATERAL (
       SELECT sum(by_day.requests) AS requests, max(by_day.bucket_start) AS last_start
         FROM rollups_by_day AS by_day WHERE by_day.series_id = series.series_id
       ) AS days ON days.last_start IS NOT NULL
  LEFT JOIN LATERAL (
       SELECT max(by_hour.bucket_start) AS last_start
         FROM rollups_by_hour AS by_hour
        WHERE by_hour.series_id = series.series_id AND by_hour.bucket_start >= days.last_start
       ) AS hours ON true
  LEFT JOIN LATERAL (
       SELECT max(by_minute.bucket_start) AS last_start
         FROM rollups_by_minute AS by_minute
        WHERE by_minute.series_id = series.series_id AND by_minute.bucket_start >= hours.last_start
       ) AS minutes ON true
 WHERE series.api_key_id = ANY(:api_key_ids::uuid[])
 GROUP BY series.api_key_id
 ORDER BY series.api_key_id;
