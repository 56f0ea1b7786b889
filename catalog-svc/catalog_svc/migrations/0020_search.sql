-- Services are found by their tags too, what their name says counts most, and a mistyped word finds what it is like.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
        RAISE EXCEPTION 'the extension pg_trgm is missing'
            USING HINT = 'An administrator makes it: python -m ams_common.provision';
    END IF;
END
$$;

-- array_to_string() isn't immutable for arrays of any type; of texts it is.
CREATE FUNCTION tag_text(tags text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT array_to_string(tags, ' ')
$$;

-- Stems of English (for "forecast" to find "forecasting") and the words as written (for names).
CREATE FUNCTION stems_and_words(body text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
    SELECT to_tsvector('pg_catalog.english'::regconfig, body) || to_tsvector('pg_catalog.simple'::regconfig, body)
$$;

-- With the column goes its index.
ALTER TABLE services DROP COLUMN search;
ALTER TABLE services
    ADD COLUMN search tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(stems_and_words(name), 'A') || setweight(stems_and_words(tag_text(tags)), 'B')
        || setweight(stems_and_words(merchant_name), 'C') || setweight(stems_and_words(description), 'D')
    ) STORED,
    -- What a mistyped word is compared with.
    ADD COLUMN search_names text NOT NULL GENERATED ALWAYS AS (
        lower(name || ' ' || tag_text(tags) || ' ' || merchant_name)
    ) STORED;
CREATE INDEX services_by_words ON services USING gin (search) WITH (fastupdate = off);
-- Of a frequent word those that are called by it are ranked.
CREATE INDEX services_by_name_words ON services USING gin (stems_and_words(name)) WITH (fastupdate = off);
CREATE INDEX services_by_likeness ON services USING gin (search_names gin_trgm_ops) WITH (fastupdate = off)
    WHERE status = 'active';
