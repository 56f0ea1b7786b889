-- name: list_rated_days
-- By day and merchant: all calls in the counters, and of them what is on invoices in force and why the others aren't.
SELECT day, merchant_id, sum(requests)::bigint AS rated, sum(invoiced)::bigint AS invoiced,
       coalesce(sum(requests - invoiced) FILTER (WHERE reason = 'not_charged'), 0)::bigint AS not_charged,
       coalesce(sum(requests - invoiced) FILTER (WHERE reason = 'price_unknown'), 0)::bigint AS price_unknown,
       coalesce(sum(requests - invoiced) FILTER (WHERE reason = 'not_invoiced_yet'), 0)::bigint AS not_invoiced_yet
  FROM (
    SELECT c.day, c.merchant_id, c.requests,
           COALESCE((SELECT sum(u.requests) FROM invoice_usage u JOIN invoices i USING (invoice_id)
                      WHERE u.counter_id = c.counter_id AND u.rebilled_by IS NULL AND i.status <> 'void'), 0)
               AS invoiced,
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
     WHERE c.day BETWEEN :first_day AND :last_day
       AND (:merchant_id::uuid IS NULL OR c.merchant_id = :merchant_id)
       AND (:consumer_id::uuid IS NULL OR c.consumer_id = :consumer_id)
  ) AS counted
 GROUP BY day, merchant_id
 ORDER BY day, merchant_id
 LIMIT :limit::bigint;
