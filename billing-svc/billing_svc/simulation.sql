-- name: find_service
-- A merchant's own, or anybody's where no merchant is named.
SELECT service_id, name FROM services
 WHERE service_id = :service_id AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id);

-- name: find_price
-- The price in force on a day.
SELECT price::text FROM price_versions
 WHERE service_id = :service_id AND first_day <= :day::date AND end_day > :day;

-- name: list_usage_of_service
SELECT c.merchant_id, c.consumer_id, c.service_id, :service_name::text AS service_name, :month::text AS month,
       p.price_version_id, p.price::text AS price, min(c.day) AS first_day, max(c.day) AS last_day, c.charge_class,
       sum(c.requests)::bigint AS requests, sum(c.request_bytes)::bigint AS request_bytes,
       sum(c.response_bytes)::bigint AS response_bytes
  FROM usage_counters c
  LEFT JOIN price_versions p ON p.service_id = c.service_id AND c.day >= p.first_day AND c.day < p.end_day
 WHERE c.service_id = :service_id AND c.day BETWEEN :first_day AND :last_day
   AND c.consumer_id = ANY(:consumer_ids::uuid[])
 GROUP BY c.merchant_id, c.consumer_id, c.service_id, p.price_version_id, c.charge_class;

-- name: list_consumers_of_service
SELECT DISTINCT consumer_id FROM usage_counters
 WHERE service_id = :service_id AND day BETWEEN :first_day AND :last_day
 ORDER BY consumer_id;
