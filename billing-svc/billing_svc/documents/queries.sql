-- name: list_prices
SELECT price_version_id, price::text AS price FROM price_versions
 WHERE price_version_id = ANY(:price_version_ids::uuid[]);
