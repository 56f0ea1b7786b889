-- A counter is a group's, wherever its events were read. With one for each source, an event that was sent again to a
-- partition or topic that is new, after usage-svc had been restored, was billed twice. What is there is added up over
-- the sources; calls take the place of events, of which there may have been more: the next total says how many.
CREATE TEMPORARY TABLE counters_merged ON COMMIT DROP AS
SELECT counter_id, source, min(counter_id) OVER (
           PARTITION BY merchant_id, consumer_id, day, service_id, api_key_id, project_id, charge_class
       ) AS kept_id
  FROM usage_counters;

CREATE TEMPORARY TABLE invoice_usage_merged ON COMMIT DROP AS
SELECT invoice_id, kept_id AS counter_id, rebilled_by, jsonb_object_agg(source, last_offset) AS last_offsets,
       sum(requests)::bigint AS requests, sum(request_bytes)::bigint AS request_bytes,
       sum(response_bytes)::bigint AS response_bytes
  FROM (
    SELECT invoice_id, counter_id, rebilled_by, max(last_offset) AS last_offset, sum(requests) AS requests,
           sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes
      FROM invoice_usage GROUP BY invoice_id, counter_id, rebilled_by
  ) AS of_sources JOIN counters_merged USING (counter_id)
 GROUP BY invoice_id, kept_id, rebilled_by;

DROP INDEX usage_counters_by_group;
ALTER TABLE usage_counters
    ADD COLUMN events bigint,
    ADD COLUMN last_offsets jsonb;   -- by source, "<incarnation of usage.events>/<partition>"
UPDATE usage_counters held
   SET events = greatest(merged.requests, 1), requests = merged.requests, request_bytes = merged.request_bytes,
       response_bytes = merged.response_bytes, last_offsets = merged.last_offsets
  FROM (
    SELECT kept_id, sum(requests) AS requests, sum(request_bytes) AS request_bytes,
           sum(response_bytes) AS response_bytes, jsonb_object_agg(c.source, c.last_offset) AS last_offsets
      FROM usage_counters c JOIN counters_merged USING (counter_id)
     GROUP BY kept_id
  ) AS merged
 WHERE held.counter_id = merged.kept_id;
DELETE FROM usage_counters USING counters_merged merged
 WHERE usage_counters.counter_id = merged.counter_id AND merged.counter_id <> merged.kept_id;
ALTER TABLE usage_counters
    DROP COLUMN source,
    DROP COLUMN last_offset,
    ALTER COLUMN events SET NOT NULL,
    ALTER COLUMN last_offsets SET NOT NULL,
    ADD CHECK (events >= 1 AND requests <= events);
CREATE UNIQUE INDEX usage_counters_by_group ON usage_counters (
    merchant_id, consumer_id, day, service_id, api_key_id, project_id, charge_class
) NULLS NOT DISTINCT;

DROP TABLE invoice_usage;
-- The exact usage behind an issued invoice: of each counter what came after its first after_events events, up to and
-- with last_events: these are its events up to and with the last offset of each source, without those of the rows
-- before. Each event is in one row that has not been billed anew. Without references: checking them took longer than
-- the monthly run (see invariants.sql instead).
CREATE TABLE invoice_usage (
    invoice_id uuid NOT NULL,
    counter_id bigint NOT NULL,
    after_events bigint NOT NULL CHECK (after_events >= 0),
    last_events bigint NOT NULL CHECK (last_events > after_events),
    last_offsets jsonb NOT NULL,
    requests bigint NOT NULL CHECK (requests >= 0),
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    -- The invoice that took the row over when this row's invoice was void.
    rebilled_by uuid,
    PRIMARY KEY (counter_id, invoice_id, after_events)
);
CREATE INDEX invoice_usage_by_invoice ON invoice_usage (invoice_id);

-- A row whose invoice was void, and one that took it over, begin where those before them end.
INSERT INTO invoice_usage (
    invoice_id, counter_id, after_events, last_events, last_offsets, requests, request_bytes, response_bytes,
    rebilled_by
)
SELECT invoice_id, counter_id, last_events - greatest(requests, 1), last_events, last_offsets, requests,
       request_bytes, response_bytes, rebilled_by
  FROM (
    SELECT merged.*, sum(greatest(merged.requests, 1)) OVER (
               PARTITION BY merged.counter_id, merged.rebilled_by IS NULL
               ORDER BY i.sequence ROWS UNBOUNDED PRECEDING
           )::bigint AS last_events
      FROM invoice_usage_merged merged JOIN invoices i USING (invoice_id)
  ) AS spans;
UPDATE usage_counters c SET events = u.last_events
  FROM (SELECT counter_id, max(last_events) AS last_events FROM invoice_usage GROUP BY counter_id) AS u
 WHERE u.counter_id = c.counter_id AND u.last_events > c.events;
