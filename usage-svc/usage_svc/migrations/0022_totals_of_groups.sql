-- A group's total is one, wherever its events were read. With one for each source an event that was sent again, to a
-- partition or a topic that is new, was in another total after a restore, and billing added both.
CREATE TEMPORARY TABLE totals_of_groups ON COMMIT DROP AS
SELECT series_id, day, charge_class, is_test, sum(events) AS events, sum(requests) AS requests,
    sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes,
    jsonb_object_agg(source_id, last_offset) AS last_offsets
FROM day_totals
GROUP BY series_id, day, charge_class, is_test;

DROP TABLE day_totals;

-- What a UTC day's events of a series come to so far. Those of no test key are what billing is told
-- (ams.usage.v1.UsageTotal): they only grow, and are the same after a restore once all events have been read again.
CREATE TABLE day_totals (
    series_id bigint NOT NULL,
    day date NOT NULL,
    charge_class smallint NOT NULL CHECK (charge_class BETWEEN 1 AND 4),
    is_test boolean NOT NULL,
    events bigint NOT NULL CHECK (events > 0),
    requests bigint NOT NULL CHECK (requests BETWEEN 0 AND events),
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    last_offsets jsonb NOT NULL,  -- by source_id
    PRIMARY KEY (series_id, day, charge_class, is_test)
) WITH (fillfactor = 70);
CREATE INDEX day_totals_by_day ON day_totals (day);

INSERT INTO day_totals (
    series_id, day, charge_class, is_test, events, requests, request_bytes, response_bytes, last_offsets
)
SELECT series_id, day, charge_class, is_test, events, requests, request_bytes, response_bytes, last_offsets
FROM totals_of_groups;
