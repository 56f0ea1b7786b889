-- What must never be found, whatever was killed, restored or read again. Each query returns no row.

-- invariant: an invoice is the sum of its lines
SELECT i.invoice_id, i.subtotal, sum(l.amount) AS lines
  FROM invoices i LEFT JOIN invoice_lines l USING (invoice_id)
 GROUP BY i.invoice_id
HAVING i.subtotal IS DISTINCT FROM sum(l.amount);

-- invariant: subtotal less commission is the total, in whole minor units
SELECT invoice_id FROM invoices
 WHERE subtotal - commission <> total OR subtotal <> round(subtotal, minor_unit_digits)
    OR commission <> round(commission, minor_unit_digits);

-- invariant: numbers have no gap
SELECT merchant_id, kind, count(*) AS given, max(sequence) AS last
  FROM invoices WHERE status <> 'draft'
 GROUP BY merchant_id, kind
HAVING count(*) <> max(sequence);

-- invariant: the last number given is the last that is counted
SELECT merchant_id, kind, n.last_sequence, max(i.sequence) AS last
  FROM invoice_numbers n LEFT JOIN invoices i USING (merchant_id, kind)
 GROUP BY merchant_id, kind, n.last_sequence
HAVING n.last_sequence IS DISTINCT FROM max(i.sequence);

-- invariant: a line bills what has come since the lines before it
SELECT invoice_id, position, billed_before, sum_before
  FROM (
    SELECT l.invoice_id, l.position, l.billed_before, i.status,
           COALESCE(sum(l.amount) FILTER (WHERE i.status <> 'void') OVER earlier, 0) AS sum_before,
           bool_or(i.status = 'void') OVER everything AS has_void
      FROM invoice_lines l JOIN invoices i USING (invoice_id)
     WHERE i.kind = 'invoice' AND i.status <> 'draft'
    WINDOW everything AS (PARTITION BY i.merchant_id, i.consumer_id, l.service_id, l.month, l.price_version_id,
                                       l.component),
           earlier AS (everything ORDER BY i.sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
  ) AS lines
 -- A void invoice was in force when those after it were made.
 WHERE NOT has_void AND billed_before <> sum_before;

-- invariant: what is billed of a key is what it was rated at last
SELECT merchant_id, consumer_id, service_id, month, price_version_id, component, billed, rated_amount
  FROM (
    SELECT i.merchant_id, i.consumer_id, l.service_id, l.month, l.price_version_id, l.component, l.rated_amount,
           sum(l.amount) OVER key AS billed, bool_or(i.status = 'void') OVER key AS has_void,
           row_number() OVER (key ORDER BY i.sequence DESC) AS rank
      FROM invoice_lines l JOIN invoices i USING (invoice_id)
     WHERE i.kind = 'invoice' AND i.status <> 'draft'
    WINDOW key AS (PARTITION BY i.merchant_id, i.consumer_id, l.service_id, l.month, l.price_version_id,
                                l.component)
  ) AS lines
 WHERE rank = 1 AND NOT has_void AND billed <> rated_amount;

-- invariant: no more is credited than was invoiced, and of a void invoice all
SELECT i.invoice_id, i.status, i.subtotal, i.commission, sum(c.subtotal) AS credited
  FROM invoices i JOIN invoices c ON c.corrects_invoice_id = i.invoice_id
 GROUP BY i.invoice_id
HAVING sum(c.subtotal) > i.subtotal OR sum(c.commission) > i.commission
    OR (i.status = 'void' AND (sum(c.subtotal) <> i.subtotal OR sum(c.commission) <> i.commission))
    OR (sum(c.subtotal) = i.subtotal AND sum(c.commission) <> i.commission);

-- invariant: nothing is invoiced that was not counted
SELECT c.counter_id, c.requests, sum(u.requests) AS invoiced
  FROM invoice_usage u JOIN usage_counters c USING (counter_id)
 WHERE u.rebilled_by IS NULL
 GROUP BY c.counter_id
HAVING sum(u.requests) > c.requests OR sum(u.request_bytes) > c.request_bytes
    OR sum(u.response_bytes) > c.response_bytes OR max(u.last_events) > c.events;

-- invariant: no event is on two invoices
SELECT counter_id, invoice_id, after_events, before
  FROM (
    SELECT counter_id, invoice_id, after_events, last_events,
           lag(last_events) OVER (PARTITION BY counter_id ORDER BY after_events, last_events) AS before
      FROM invoice_usage WHERE rebilled_by IS NULL
  ) AS spans
 WHERE after_events < before;

-- invariant: the usage behind an invoice exists, and so does the invoice
SELECT u.invoice_id, u.counter_id
  FROM invoice_usage u
  LEFT JOIN invoices i USING (invoice_id) LEFT JOIN usage_counters c USING (counter_id)
 WHERE c.counter_id IS NULL OR i.invoice_id IS NULL OR i.status = 'draft' OR i.kind <> 'invoice'
    OR (i.merchant_id, i.consumer_id) <> (c.merchant_id, c.consumer_id);

-- invariant: an issued invoice has the digest of its roots, or waits for it
SELECT invoice_id
  FROM (SELECT invoice_id FROM invoices WHERE kind = 'invoice' AND status <> 'draft') AS issued
  FULL JOIN invoice_roots USING (invoice_id)
 WHERE issued.invoice_id IS NULL OR invoice_roots.invoice_id IS NULL;

-- invariant: a month's lines count the usage behind them
SELECT merchant_id, consumer_id, service_id, month, lines.requests, usage.requests AS behind
  FROM (
    SELECT merchant_id, consumer_id, service_id, month, sum(requests) AS requests
      FROM (
        SELECT DISTINCT ON (i.merchant_id, i.consumer_id, l.service_id, l.month, l.price_version_id)
               i.merchant_id, i.consumer_id, l.service_id, l.month, l.requests
          FROM invoice_lines l JOIN invoices i USING (invoice_id)
         WHERE i.kind = 'invoice' AND i.status IN ('issued', 'paid', 'overdue')
         ORDER BY i.merchant_id, i.consumer_id, l.service_id, l.month, l.price_version_id, i.sequence DESC
      ) AS latest
     GROUP BY merchant_id, consumer_id, service_id, month
  ) AS lines
  FULL JOIN (
    SELECT c.merchant_id, c.consumer_id, c.service_id, to_char(c.day, 'YYYY-MM') AS month,
           sum(u.requests) AS requests,
           sum(u.requests) FILTER (
               WHERE (c.charge_class = 'client_error'
                      AND (p.price -> 'charge_rule' ->> 'is_client_error_free')::boolean) IS NOT TRUE
                 AND (c.charge_class = 'abandoned'
                      AND (p.price -> 'charge_rule' ->> 'is_abandoned_free')::boolean) IS NOT TRUE
           ) AS charged_requests,
           bool_or(i.status = 'void') AS has_void
      FROM invoice_usage u JOIN usage_counters c USING (counter_id) JOIN invoices i USING (invoice_id)
      LEFT JOIN price_versions p ON p.service_id = c.service_id AND c.day >= p.first_day AND c.day < p.end_day
     WHERE u.rebilled_by IS NULL
     GROUP BY 1, 2, 3, 4
  ) AS usage USING (merchant_id, consumer_id, service_id, month)
 -- What a void invoice had is open again, and on no line. A price that became known late may give away what was charged
 -- before: from the next invoice on the lines leave that out.
 WHERE usage.has_void IS NOT TRUE
   AND lines.requests IS DISTINCT FROM usage.requests
   AND coalesce(lines.requests, 0) <> coalesce(usage.charged_requests, 0);

-- invariant: whoever has a draft has an open month
SELECT i.invoice_id, l.month
  FROM invoices i JOIN invoice_lines l USING (invoice_id)
  LEFT JOIN open_months m
    ON m.merchant_id = i.merchant_id AND m.consumer_id = i.consumer_id AND m.month = l.month
 WHERE i.status = 'draft' AND i.kind = 'invoice' AND m.month IS NULL;

-- invariant: a service's days have one price
SELECT service_id, price_version_id, first_day, before
  FROM (
    SELECT service_id, price_version_id, first_day,
           lag(end_day, 1, '-infinity') OVER (PARTITION BY service_id ORDER BY first_day, end_day) AS before
      FROM price_versions WHERE first_day IS NOT NULL
  ) AS versions
 WHERE first_day <> before;
