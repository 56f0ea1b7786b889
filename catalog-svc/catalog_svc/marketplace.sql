-- name: prefer_indexes
-- What anybody may ask has its plan from indexes: where there is a LIMIT, the planner would hope to meet enough on its
-- way through the whole marketplace. Until the transaction ends.
SELECT set_config('enable_seqscan', 'off', true), set_config('pg_trgm.word_similarity_threshold', '0.4', true);

-- fragment: listed
status = 'active' AND standing = 'active' AND (visibility = 'public' OR service_id = ANY(:private_ids::uuid[]))

-- fragment: of_type
(:type::text IS NULL OR type = :type)

-- fragment: of_categories
(cardinality(:categories::text[]) = 0 OR categories @> :categories::text[])

-- fragment: of_tags
(cardinality(:tags::text[]) = 0 OR tags @> :tags::text[])

-- fragment: of_price_models
(cardinality(:price_models::text[]) = 0 OR price_models @> :price_models::text[])

-- fragment: of_merchant
(:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)

-- fragment: of_currency
(:currency::text IS NULL OR typical_month_currency COLLATE pg_c_utf8 = :currency)

-- fragment: chosen
{of_type} AND {of_categories} AND {of_tags} AND {of_price_models} AND {of_merchant} AND {of_currency}

-- fragment: found
{listed} AND (:words::text[] IS NULL OR search @@ matches_query(:words))

-- name: list_marketplace
-- Along the order: for what many services fit.
-- order published_at desc: timestamptz published_at, uuid service_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid service_id
-- order typical_month: text typical_month_currency COLLATE pg_c_utf8, numeric typical_month_amount, uuid service_id
WITH shown AS (
    SELECT service_id, {key} FROM services JOIN merchants USING (merchant_id)
    WHERE {found} AND {chosen} AND {after}
    ORDER BY {order}
    LIMIT :limit
), placed AS (SELECT *, row_number() OVER () AS place FROM shown)
SELECT details.*, placed.* FROM placed JOIN service_details(:now) AS details USING (service_id) ORDER BY place;

-- name: count_matches
-- At most :most.
SELECT count(*)::integer FROM (
    SELECT FROM services JOIN merchants USING (merchant_id)
    WHERE {listed} AND {chosen} AND search @@ matches_query(:words)
    LIMIT :most
) AS matches;

-- name: sort_matches
-- order published_at desc: timestamptz published_at, uuid service_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid service_id
-- order typical_month: text typical_month_currency COLLATE pg_c_utf8, numeric typical_month_amount, uuid service_id
-- For what no more than :most services fit. The words first and by themselves: beside ORDER BY and LIMIT the planner
-- would walk along the order.
WITH matches AS MATERIALIZED (
    SELECT service_id, name, published_at, typical_month_currency, typical_month_amount
    FROM services JOIN merchants USING (merchant_id)
    WHERE {listed} AND {chosen} AND search @@ matches_query(:words)
    LIMIT :most
), shown AS (
    SELECT service_id, {key} FROM matches WHERE {after} ORDER BY {order} LIMIT :limit
), placed AS (SELECT *, row_number() OVER () AS place FROM shown)
SELECT details.*, placed.* FROM placed JOIN service_details(:now) AS details USING (service_id) ORDER BY place;

-- name: rank_matches
-- order relevance desc: numeric score, uuid service_id
-- Of more than :most matches those are ranked that have the words in their names, and :most of them; the rest isn't
-- even looked for. A score is from 0 to 1.
WITH named AS MATERIALIZED (
    SELECT service_id, search FROM services JOIN merchants USING (merchant_id)
    WHERE {listed} AND {chosen} AND stems_and_words(name) @@ matches_query(:words)
    LIMIT :most
), others AS MATERIALIZED (
    SELECT service_id, search FROM services JOIN merchants USING (merchant_id)
    WHERE {listed} AND {chosen} AND search @@ matches_query(:words)
      AND (SELECT count(*) FROM named) < :most
    LIMIT :most
), matches AS MATERIALIZED (
    SELECT service_id, round(ts_rank('{0.05, 0.2, 0.5, 1}', search, words_query(:words))::numeric, 6) AS score
    FROM (SELECT * FROM named UNION ALL
          SELECT * FROM others WHERE service_id NOT IN (SELECT service_id FROM named)) AS candidates
), shown AS (
    SELECT service_id, {key} FROM matches WHERE {after} ORDER BY {order} LIMIT :limit
), placed AS (SELECT *, row_number() OVER () AS place FROM shown)
SELECT details.*, placed.* FROM placed JOIN service_details(:now) AS details USING (service_id) ORDER BY place;

-- name: list_unknown_words
-- Those of the words that no word of a listed service begins with; their stems don't count.
SELECT word FROM unnest(:words::text[]) AS word
WHERE length(word) > 3 AND NOT EXISTS (
    SELECT FROM services JOIN merchants USING (merchant_id)
    WHERE {listed} AND search @@ matches_query(ARRAY[word])
);

-- name: find_similar_word
-- Only names of listed services are looked through: a correction tells nothing of the others. 500 of those that have
-- something like it are enough to know how it is written.
WITH likely AS MATERIALIZED (
    SELECT search_names FROM services JOIN merchants USING (merchant_id)
    WHERE {listed} AND search_names %> :word
    LIMIT 500
), candidates AS MATERIALIZED (
    SELECT DISTINCT candidate FROM likely, LATERAL regexp_split_to_table(search_names, '\W+') AS candidate
)
SELECT candidate FROM candidates
WHERE similarity(candidate, :word) > 0.3
ORDER BY similarity(candidate, :word) DESC, candidate
LIMIT 1;

-- name: count_facets
-- Each filter's values among what the others leave: what fits all of them, unless it is set itself. At last all that
-- fit. No more than :most services are counted for any of it.
WITH fitting AS MATERIALIZED (
    SELECT type, categories, tags, price_models, merchant_id, display_name, typical_month_currency
    FROM services JOIN merchants USING (merchant_id)
    WHERE {found} AND {chosen}
    LIMIT :most
)
(SELECT 'type' AS facet, type AS value, '' AS label, count(*)::integer AS count
 FROM (SELECT type FROM fitting WHERE :type::text IS NULL
       UNION ALL
       (SELECT type FROM services JOIN merchants USING (merchant_id)
        WHERE NOT (:type::text IS NULL) AND {found}
          AND {of_categories} AND {of_tags} AND {of_price_models} AND {of_merchant} AND {of_currency}
        LIMIT :most)) AS counted
 GROUP BY type ORDER BY count DESC, type)
UNION ALL
(SELECT 'category', category, '', count(*)::integer AS count
 FROM (SELECT categories FROM fitting WHERE cardinality(:categories::text[]) = 0
       UNION ALL
       (SELECT categories FROM services JOIN merchants USING (merchant_id)
        WHERE NOT (cardinality(:categories::text[]) = 0) AND {found}
          AND {of_type} AND {of_tags} AND {of_price_models} AND {of_merchant} AND {of_currency}
        LIMIT :most)) AS counted, unnest(categories) AS category
 GROUP BY category ORDER BY count DESC, category LIMIT 20)
UNION ALL
(SELECT 'tag', tag, '', count(*)::integer AS count
 FROM (SELECT tags FROM fitting WHERE cardinality(:tags::text[]) = 0
       UNION ALL
       (SELECT tags FROM services JOIN merchants USING (merchant_id)
        WHERE NOT (cardinality(:tags::text[]) = 0) AND {found}
          AND {of_type} AND {of_categories} AND {of_price_models} AND {of_merchant} AND {of_currency}
        LIMIT :most)) AS counted, unnest(tags) AS tag
 GROUP BY tag ORDER BY count DESC, tag LIMIT 20)
UNION ALL
(SELECT 'price_model', price_model, '', count(*)::integer AS count
 FROM (SELECT price_models FROM fitting WHERE cardinality(:price_models::text[]) = 0
       UNION ALL
       (SELECT price_models FROM services JOIN merchants USING (merchant_id)
        WHERE NOT (cardinality(:price_models::text[]) = 0) AND {found}
          AND {of_type} AND {of_categories} AND {of_tags} AND {of_merchant} AND {of_currency}
        LIMIT :most)) AS counted, unnest(price_models) AS price_model
 GROUP BY price_model ORDER BY count DESC, price_model)
UNION ALL
(SELECT 'merchant', merchant_id::text, min(display_name), count(*)::integer AS count
 FROM (SELECT merchant_id, display_name FROM fitting WHERE :merchant_id::uuid IS NULL
       UNION ALL
       (SELECT merchant_id, display_name FROM services JOIN merchants USING (merchant_id)
        WHERE NOT (:merchant_id::uuid IS NULL) AND {found}
          AND {of_type} AND {of_categories} AND {of_tags} AND {of_price_models} AND {of_currency}
        LIMIT :most)) AS counted
 GROUP BY merchant_id ORDER BY count DESC, merchant_id LIMIT 20)
UNION ALL
(SELECT 'currency', typical_month_currency, '', count(*)::integer AS count
 FROM (SELECT typical_month_currency FROM fitting WHERE :currency::text IS NULL
       UNION ALL
       (SELECT typical_month_currency FROM services JOIN merchants USING (merchant_id)
        WHERE NOT (:currency::text IS NULL) AND {found}
          AND {of_type} AND {of_categories} AND {of_tags} AND {of_price_models} AND {of_merchant}
        LIMIT :most)) AS counted
 WHERE typical_month_currency <> ''
 GROUP BY typical_month_currency ORDER BY count DESC, typical_month_currency LIMIT 20)
UNION ALL
SELECT 'total', '', '', count(*)::integer FROM fitting;

-- fragment: newest_related
ORDER BY published_at DESC, service_id DESC LIMIT 250

-- fragment: related_columns
service_id, published_at, merchant_id, categories, tags

-- name: list_related_services
-- Three for each category that they share, two for each tag, one for the merchant; of those alike the newest. Compared
-- are the newest of those that share both, of each kind, and of the merchant.
WITH candidates AS (
    (SELECT {related_columns} FROM services JOIN merchants USING (merchant_id)
     WHERE {listed} AND categories && :categories::text[] AND tags && :tags::text[] {newest_related})
    UNION ALL
    (SELECT {related_columns} FROM services JOIN merchants USING (merchant_id)
     WHERE {listed} AND categories && :categories::text[] {newest_related})
    UNION ALL
    (SELECT {related_columns} FROM services JOIN merchants USING (merchant_id)
     WHERE {listed} AND tags && :tags::text[] {newest_related})
    UNION ALL
    (SELECT {related_columns} FROM services JOIN merchants USING (merchant_id)
     WHERE {listed} AND merchant_id = :merchant_id {newest_related})
), alike AS (
    SELECT DISTINCT service_id, published_at,
        3 * cardinality(ARRAY(SELECT unnest(categories) INTERSECT SELECT unnest(:categories::text[])))
        + 2 * cardinality(ARRAY(SELECT unnest(tags) INTERSECT SELECT unnest(:tags::text[])))
        + (merchant_id = :merchant_id)::integer AS score
    FROM candidates
    WHERE service_id <> :service_id
    ORDER BY score DESC, published_at DESC, service_id DESC
    LIMIT :limit
)
SELECT details.* FROM alike JOIN service_details(:now) AS details USING (service_id)
ORDER BY alike.score DESC, alike.published_at DESC, service_id DESC;
