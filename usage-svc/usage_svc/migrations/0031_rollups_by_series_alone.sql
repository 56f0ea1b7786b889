-- Nothing reads hours and days by time alone: each row of them is found by its series. Two indexes fewer for each row
-- that a batch adds.
DROP INDEX rollups_by_hour_bucket_start_idx, rollups_by_day_bucket_start_idx;
