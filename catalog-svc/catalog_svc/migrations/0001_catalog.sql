-- What identity.events tells of merchants. A row with standing 'unspecified' stands in for a merchant
-- that nothing has been heard of yet, so that every service has a row to join and to lock.
CREATE TABLE merchants (
    merchant_id uuid PRIMARY KEY,
    display_name text NOT NULL DEFAULT '',
    slug text NOT NULL DEFAULT '',
    standing text NOT NULL DEFAULT 'unspecified'
        CHECK (standing IN ('unspecified', 'active', 'suspended', 'blocked'))
);

CREATE TABLE services (
    service_id uuid PRIMARY KEY,
    merchant_id uuid NOT NULL REFERENCES merchants,
    slug text NOT NULL UNIQUE
        CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 80
               AND replace(slug, '-', '') !~ '^[0-9a-f]{32}$'),   -- an id is never a slug
    name text NOT NULL CHECK (name <> ''),
    description text NOT NULL CHECK (description <> ''),
    type text NOT NULL CHECK (type IN ('api', 'docker')),
    status text NOT NULL CHECK (status IN ('draft', 'pending_approval', 'active', 'rejected', 'suspended')),
    base_url text NOT NULL,
    documentation_url text NOT NULL,
    version text NOT NULL CHECK (version <> ''),
    tags text[] NOT NULL,
    rate_limit_per_minute integer NOT NULL CHECK (rate_limit_per_minute >= 0),
    additional_info text NOT NULL,
    rejection_reason text NOT NULL DEFAULT '',
    -- The price that will start on approval; from then on it is the version in force.
    draft_price_model text CHECK (draft_price_model IN ('per_request')),
    draft_price_currency text CHECK (draft_price_currency ~ '^[A-Z]{3}$'),
    draft_price_amount numeric(19, 9) CHECK (draft_price_amount >= 0),
    price_version_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    published_at timestamptz,
    -- A copy of the merchant's display name, so that one GIN index serves searches for words of which
    -- some stand in the service's text and some in its merchant's name.
    merchant_name text NOT NULL,
    -- Stems of English (for "forecast" to find "forecasting") and the words as written (for names).
    search tsvector NOT NULL GENERATED ALWAYS AS (
        to_tsvector('english'::regconfig, name || ' ' || description || ' ' || merchant_name)
        || to_tsvector('simple'::regconfig, name || ' ' || description || ' ' || merchant_name)
    ) STORED,
    CHECK (num_nonnulls(draft_price_model, draft_price_currency, draft_price_amount)
           = CASE WHEN price_version_id IS NULL THEN 3 ELSE 0 END),
    CHECK (status <> 'active' OR (price_version_id IS NOT NULL AND published_at IS NOT NULL)),
    CHECK (status <> 'active' OR type <> 'api' OR base_url <> ''),
    CHECK ((status = 'rejected') = (rejection_reason <> ''))
);
CREATE INDEX services_by_age ON services (created_at DESC, service_id DESC);
CREATE INDEX services_by_status ON services (status, created_at DESC, service_id DESC);
CREATE INDEX services_by_merchant ON services (merchant_id, created_at DESC, service_id DESC);
CREATE INDEX services_published ON services (published_at DESC, service_id DESC) WHERE status = 'active';
-- Services change seldom and are searched often: no pending list for searches to go through.
CREATE INDEX services_by_words ON services USING gin (search) WITH (fastupdate = off);
CREATE INDEX services_by_tag ON services USING gin (tags) WITH (fastupdate = off);

CREATE TABLE price_versions (
    price_version_id uuid PRIMARY KEY,
    service_id uuid NOT NULL REFERENCES services,
    model text NOT NULL CHECK (model IN ('per_request')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount numeric(19, 9) NOT NULL CHECK (amount >= 0),
    starts_at timestamptz NOT NULL,
    UNIQUE (service_id, starts_at),
    UNIQUE (service_id, price_version_id)
);
ALTER TABLE services ADD FOREIGN KEY (service_id, price_version_id)
    REFERENCES price_versions (service_id, price_version_id);

-- Past usage is billed by its version, so what a version says is said for ever.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a price version is never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER price_versions_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON price_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- All of `words`, each as the beginning of a word of the text, stemmed or as written. English stop
-- words are left out ("the weather" means "weather"), unless there is nothing else.
CREATE FUNCTION words_query(words text[]) RETURNS tsquery LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        string_agg('(' || (stemmed || written)::text || ')', ' & ') FILTER (WHERE numnode(stemmed) > 0),
        string_agg('(' || written::text || ')', ' & ') FILTER (WHERE numnode(written) > 0),
        ''
    )::tsquery
    FROM unnest(words) AS word,
        LATERAL (SELECT to_tsquery('english'::regconfig, word || ':*') AS stemmed,
                        to_tsquery('simple'::regconfig, word || ':*') AS written) AS queries
$$;

-- A service with what it has from elsewhere: its merchant, and its price (in force, or to come).
CREATE VIEW service_details AS
SELECT services.service_id, services.merchant_id, merchants.display_name AS merchant_name,
       merchants.standing AS merchant_standing, services.slug, services.name, services.description,
       services.type, services.status, services.base_url, services.documentation_url, services.version,
       services.tags, services.rate_limit_per_minute, services.additional_info,
       services.rejection_reason, services.price_version_id,
       coalesce(price_versions.model, services.draft_price_model) AS price_model,
       coalesce(price_versions.currency, services.draft_price_currency) AS price_currency,
       coalesce(price_versions.amount, services.draft_price_amount) AS price_amount,
       services.created_at, services.updated_at, services.published_at
FROM services
JOIN merchants ON merchants.merchant_id = services.merchant_id
LEFT JOIN price_versions ON price_versions.price_version_id = services.price_version_id;
