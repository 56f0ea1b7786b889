-- fragment: of_days
c.day BETWEEN :first_day AND :last_day
       AND (:merchant_ids::uuid[] IS NULL OR c.merchant_id = ANY(:merchant_ids))
       AND (:consumer_id::uuid IS NULL OR c.consumer_id = :consumer_id)

-- fragment: counted
-- Each counter, what of it is on invoices in force, and why the rest isn't.
SELECT c.day, c.merchant_id, c.consumer_id, c.requests, c.request_bytes, c.response_bytes,
           invoiced.requests AS invoiced_requests, invoiced.request_bytes AS invoiced_request_bytes,
           invoiced.response_bytes AS invoiced_response_bytes,
           CASE
               WHEN c.charge_class = 'uncharged'
                    OR (c.charge_class = 'client_error'
                        AND (p.price -> 'charge_rule' ->> 'is_client_error_free')::boolean)
                    OR (c.charge_class = 'abandoned'
                        AND (p.price -> 'charge_rule' ->> 'is_abandoned_free')::boolean) THEN 'not_charged'
               WHEN p.price_version_id IS NULL THEN 'price_unknown'
               ELSE 'not_invoiced_yet'
           END AS reason
      FROM usage_counters c
      LEFT JOIN price_versions p ON p.service_id = c.service_id AND c.day >= p.first_day AND c.day < p.end_day
     CROSS JOIN LATERAL (
        SELECT coalesce(sum(u.requests), 0)::bigint AS requests,
               coalesce(sum(u.request_bytes), 0)::bigint AS request_bytes,
               coalesce(sum(u.response_bytes), 0)::bigint AS response_bytes
          FROM invoice_usage u JOIN invoices i USING (invoice_id)
         WHERE u.counter_id = c.counter_id AND u.rebilled_by IS NULL AND i.status <> 'void'
     ) AS invoiced
     WHERE {of_days}

-- fragment: sums
-- `open`: what no invoice says; `excess`: what invoices say beyond the counters.
reason, sum(requests)::bigint AS requests, sum(request_bytes)::bigint AS request_bytes,
       sum(response_bytes)::bigint AS response_bytes, sum(invoiced_requests)::bigint AS invoiced_requests,
       sum(invoiced_request_bytes)::bigint AS invoiced_request_bytes,
       sum(invoiced_response_bytes)::bigint AS invoiced_response_bytes,
       sum(greatest(requests - invoiced_requests, 0))::bigint AS open_requests,
       sum(greatest(request_bytes - invoiced_request_bytes, 0))::bigint AS open_request_bytes,
       sum(greatest(response_bytes - invoiced_response_bytes, 0))::bigint AS open_response_bytes,
       sum(greatest(invoiced_requests - requests, 0))::bigint AS excess_requests,
       sum(greatest(invoiced_request_bytes - request_bytes, 0))::bigint AS excess_request_bytes,
       sum(greatest(invoiced_response_bytes - response_bytes, 0))::bigint AS excess_response_bytes

-- name: list_rated_days
-- Of some merchants or all, of one consumer or all: by day and merchant.
SELECT day, merchant_id, {sums}
  FROM ({counted}) AS counted
 GROUP BY day, merchant_id, reason;

-- name: list_rated_consumers
SELECT day, merchant_id, consumer_id, {sums}
  FROM ({counted}) AS counted
 GROUP BY day, merchant_id, consumer_id, reason;

-- name: list_day_digests
-- Of what each consumer has in the counters, as usage-svc makes it (ams.usage.v1.DayTotal) of what it has told.
SELECT day, merchant_id, coalesce(
           sum(hashtextextended(concat_ws(' ', consumer_id, requests, request_bytes, response_bytes), 0))
               FILTER (WHERE requests <> 0 OR request_bytes <> 0 OR response_bytes <> 0), 0
       )::text AS digest
  FROM (
    SELECT day, merchant_id, consumer_id, sum(requests)::bigint AS requests,
           sum(request_bytes)::bigint AS request_bytes, sum(response_bytes)::bigint AS response_bytes
      FROM usage_counters c
     WHERE {of_days}
     GROUP BY day, merchant_id, consumer_id
  ) AS of_consumers
 GROUP BY day, merchant_id
 LIMIT :limit::bigint;
