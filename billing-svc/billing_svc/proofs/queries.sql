-- fragment: counted_invoices
-- What an invoice counts of its lines' services and months is also what those before it have billed, and what was issued
-- together with it in another currency, for they share a month's fee.
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

-- fragment: is_counted_once
-- What a void invoice had is counted with whichever of these took it over.
(u.rebilled_by IS NULL OR u.rebilled_by NOT IN (SELECT invoice_id FROM counted))

-- name: list_usage_behind
-- By API key.
{counted_invoices}
SELECT c.service_id, c.day, c.charge_class, c.api_key_id,
       (array_agg(u.last_offsets::text ORDER BY u.last_events DESC))[1] AS last_offsets,
       sum(u.requests)::bigint AS requests, sum(u.request_bytes)::bigint AS request_bytes,
       sum(u.response_bytes)::bigint AS response_bytes
  FROM counted JOIN invoice_usage u USING (invoice_id) JOIN usage_counters c USING (counter_id)
 WHERE (c.service_id, to_char(c.day, 'YYYY-MM')) IN (SELECT service_id, month FROM said)
   AND {is_counted_once}
 GROUP BY c.counter_id
 ORDER BY c.service_id, c.day, c.charge_class, c.api_key_id, c.counter_id;

-- name: list_spans_behind
-- The same of one service and some days of a month, by which invoice counts it, in the order in which it was billed.
{counted_invoices}
SELECT c.day, c.charge_class, c.api_key_id, u.last_offsets::text AS last_offsets,
       u.invoice_id <> :invoice_id AS is_billed_before
  FROM counted JOIN invoice_usage u USING (invoice_id) JOIN usage_counters c USING (counter_id)
 WHERE c.service_id = :service_id AND c.day BETWEEN :first_day AND :last_day
   AND {is_counted_once}
 ORDER BY c.counter_id, u.last_events;

-- name: list_versions_behind
-- The price versions that it was rated with, also if others are in force by now.
SELECT p.price_version_id, p.service_id, p.price::text AS price, behind.starts_on
  FROM invoice_prices behind JOIN price_versions p USING (price_version_id)
 WHERE behind.invoice_id = :invoice_id
 ORDER BY p.service_id, behind.starts_on, p.price_version_id;

-- name: list_merchants_without_digests
SELECT DISTINCT merchant_id FROM invoice_roots WHERE digest IS NULL ORDER BY merchant_id;

-- name: list_invoices_without_digests
-- Some of a merchant's after one, and the months of their lines.
SELECT i.invoice_id, i.last_day, array_agg(DISTINCT l.month ORDER BY l.month) AS months
  FROM (
    SELECT invoice_id FROM invoice_roots
     WHERE digest IS NULL AND merchant_id = :merchant_id AND invoice_id > :after
     ORDER BY invoice_id LIMIT :limit::bigint
  ) AS waiting
  JOIN invoices i USING (invoice_id) JOIN invoice_lines l USING (invoice_id)
 GROUP BY i.invoice_id
 ORDER BY i.invoice_id;

-- name: set_digest
-- Whoever comes first says which editions an invoice's are.
UPDATE invoice_roots SET last_editions = :last_editions::jsonb, digest = :digest
 WHERE invoice_id = ANY(:invoice_ids::uuid[]) AND digest IS NULL;

-- name: find_digest
SELECT digest FROM invoice_roots WHERE invoice_id = :invoice_id;

-- name: find_last_editions
SELECT last_editions::text FROM invoice_roots WHERE invoice_id = :invoice_id AND digest IS NOT NULL;
