-- name: list_usage_behind
-- What an invoice counts of its lines' services and months, by API key: also what those before it have billed, and what
-- was issued together with it in another currency, for they share a month's fee. What a void invoice had is counted
-- once, with whichever of these took it over.
WITH this AS (
    SELECT * FROM invoices WHERE invoice_id = :invoice_id
), said AS (
    SELECT DISTINCT service_id, month FROM invoice_lines WHERE invoice_id = :invoice_id
), counted AS (
    SELECT i.invoice_id
      FROM invoices i JOIN this USING (merchant_id, consumer_id)
     WHERE i.kind = 'invoice' AND i.status <> 'draft'
       AND i.last_day >= (SELECT to_date(min(month), 'YYYY-MM') FROM said)
       AND (i.sequence <= this.sequence
            OR (i.issued_at = this.issued_at AND i.last_day = this.last_day AND i.currency <> this.currency))
)
SELECT c.service_id, c.day, c.charge_class, c.api_key_id,
       (array_agg(u.last_offsets::text ORDER BY u.last_events DESC))[1] AS last_offsets,
       sum(u.requests)::bigint AS requests, sum(u.request_bytes)::bigint AS request_bytes,
       sum(u.response_bytes)::bigint AS response_bytes
  FROM counted JOIN invoice_usage u USING (invoice_id) JOIN usage_counters c USING (counter_id)
 WHERE (c.service_id, to_char(c.day, 'YYYY-MM')) IN (SELECT service_id, month FROM said)
   AND (u.rebilled_by IS NULL OR u.rebilled_by NOT IN (SELECT invoice_id FROM counted))
 GROUP BY c.counter_id
 ORDER BY c.service_id, c.day, c.charge_class, c.api_key_id, c.counter_id;

-- name: list_versions_behind
-- The price versions that it was rated with, also if others are in force by now.
SELECT p.price_version_id, p.service_id, p.price::text AS price, behind.starts_on
  FROM invoice_prices behind JOIN price_versions p USING (price_version_id)
 WHERE behind.invoice_id = :invoice_id
 ORDER BY p.service_id, behind.starts_on, p.price_version_id;
