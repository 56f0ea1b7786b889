-- What the marketplace's filters look at lies in the indexes of its orders: a walk along one that meets little of
-- what is asked for reads no services, and neither does counting all of them.
DROP INDEX services_published, services_published_by_name, services_published_by_price;
CREATE INDEX services_published ON services (published_at DESC, service_id DESC)
    INCLUDE (merchant_id, visibility, type, categories, tags, price_models, typical_month_currency)
    WHERE status = 'active';
CREATE INDEX services_published_by_name ON services (lower(name COLLATE pg_c_utf8), service_id)
    INCLUDE (name, merchant_id, visibility, type, categories, tags, price_models, typical_month_currency)
    WHERE status = 'active';
CREATE INDEX services_published_by_price
    ON services (typical_month_currency COLLATE pg_c_utf8, typical_month_amount, service_id)
    INCLUDE (merchant_id, visibility, type, categories, tags, price_models)
    WHERE status = 'active';

-- Any part of what a service says of itself, for what admins search all services for. The expression is that of
-- queries.sql.
CREATE INDEX services_by_text ON services USING gin (
    lower((name || ' ' || slug || ' ' || description || ' ' || merchant_name) COLLATE pg_c_utf8) gin_trgm_ops
);

-- What words_query() finds, with less to look up: where a word begins with its stem, what begins with the stem is
-- found already. words_query() is what matches are ranked by.
CREATE FUNCTION matches_query(words text[]) RETURNS tsquery LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        string_agg('(' || (CASE WHEN numnode(stemmed) = 1
                                     AND starts_with(lower(word), trim(split_part(stemmed::text, ':', 1), ''''))
                                THEN stemmed ELSE stemmed || written END)::text || ')', ' & ')
            FILTER (WHERE numnode(stemmed) > 0),
        string_agg('(' || written::text || ')', ' & ') FILTER (WHERE numnode(written) > 0),
        ''
    )::tsquery
    FROM unnest(words) AS word,
        LATERAL (SELECT to_tsquery('english'::regconfig, word || ':*') AS stemmed,
                        to_tsquery('simple'::regconfig, word || ':*') AS written) AS queries
$$;
