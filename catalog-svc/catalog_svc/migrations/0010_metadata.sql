-- What was free text so far, as fields.
ALTER TABLE services
    ADD COLUMN authentication_method text NOT NULL DEFAULT 'api_key_only'
        CHECK (authentication_method IN ('api_key_only', 'service_token', 'oauth2', 'other')),
    ADD COLUMN formats text[] NOT NULL DEFAULT '{}' CHECK (cardinality(formats) <= 20),
    -- What the merchant promises; 0: nothing.
    ADD COLUMN availability_ppm integer NOT NULL DEFAULT 0 CHECK (availability_ppm BETWEEN 0 AND 1000000),
    ADD COLUMN latency_p95_ms integer NOT NULL DEFAULT 0 CHECK (latency_p95_ms BETWEEN 0 AND 600000),
    ADD COLUMN support_email text NOT NULL DEFAULT '',
    ADD COLUMN support_url text NOT NULL DEFAULT '',
    -- Slugs of ams_common.categories.
    ADD COLUMN categories text[] NOT NULL DEFAULT '{}' CHECK (cardinality(categories) <= 3),
    ADD COLUMN visibility text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'private')),
    ADD COLUMN image_type text NOT NULL DEFAULT ''
        CHECK (image_type IN ('', 'api_container', 'worker', 'batch_processor', 'offline_licensed')),
    -- In the form of catalog_svc.metadata.
    ADD COLUMN runtime_parameters jsonb NOT NULL DEFAULT '[]'
        CHECK (jsonb_typeof(runtime_parameters) = 'array' AND jsonb_array_length(runtime_parameters) <= 50),
    ADD COLUMN skips_request_size boolean NOT NULL DEFAULT false,
    ADD COLUMN skips_response_size boolean NOT NULL DEFAULT false,
    ADD COLUMN limit_scope text NOT NULL DEFAULT 'per_consumer' CHECK (limit_scope IN ('per_consumer', 'per_key')),
    ADD COLUMN credential_kind text CHECK (credential_kind IN ('header', 'basic', 'bearer')),
    ADD COLUMN suspension_reason text NOT NULL DEFAULT '';

UPDATE services SET credential_kind = 'header' WHERE credential_header_name IS NOT NULL;
UPDATE services SET image_type = 'api_container' WHERE type = 'docker';
UPDATE services SET suspension_reason = 'Suspended before reasons were kept.' WHERE status = 'suspended';
-- As far as the merchants' own words tell.
UPDATE services SET formats = found.formats FROM (
    SELECT service_id, array_agg(format ORDER BY place) AS formats
    FROM services, unnest(ARRAY['json', 'xml', 'csv', 'geojson', 'protobuf', 'pdf']) WITH ORDINALITY AS f(format, place)
    WHERE additional_info ~* ('\m' || format || '\M')
    GROUP BY service_id
) AS found WHERE services.service_id = found.service_id;
UPDATE services SET categories = found.categories FROM (
    SELECT service_id, (array_agg(DISTINCT category))[1:3] AS categories
    FROM services, unnest(tags) AS tag JOIN (VALUES
        ('ai', 'ai'), ('ml', 'ai'), ('vision', 'ai'), ('speech', 'ai'), ('analytics', 'analytics'),
        ('business', 'business'), ('commerce', 'commerce'), ('communication', 'communication'),
        ('mail', 'communication'), ('email', 'communication'), ('sms', 'communication'), ('data', 'data'),
        ('developer-tools', 'developer-tools'), ('finance', 'finance'), ('currency', 'finance'),
        ('payments', 'finance'), ('tax', 'finance'), ('identity', 'identity'), ('maps', 'location'),
        ('geo', 'location'), ('geocoding', 'location'), ('location', 'location'), ('media', 'media'),
        ('images', 'media'), ('video', 'media'), ('science', 'science'), ('health', 'science'),
        ('security', 'security'), ('text', 'text'), ('translation', 'text'), ('search', 'text'),
        ('transport', 'transport'), ('weather', 'weather')
    ) AS known (word, category) ON known.word = tag
    GROUP BY service_id
) AS found WHERE services.service_id = found.service_id;

ALTER TABLE services
    ADD CHECK ((credential_kind IS NULL) = (credential_header_name IS NULL)),
    ADD CHECK ((type = 'docker') = (image_type <> '')),
    ADD CHECK (type = 'docker' OR runtime_parameters = '[]'),
    ADD CHECK ((status = 'suspended') = (suspension_reason <> ''));

-- Retired is a state of its own; and one that was withdrawn from the marketplace is a draft that has prices.
DO $$
DECLARE name text;
BEGIN
    FOR name IN
        SELECT conname FROM pg_constraint
        WHERE conrelid = 'services'::regclass AND contype = 'c'
          AND (pg_get_constraintdef(oid) LIKE '%draft_price%'
               OR pg_get_constraintdef(oid) LIKE '%status = ANY%pending_approval%')
    LOOP
        EXECUTE format('ALTER TABLE services DROP CONSTRAINT %I', name);
    END LOOP;
END
$$;
ALTER TABLE services
    ADD CONSTRAINT services_status_check
        CHECK (status IN ('draft', 'pending_approval', 'active', 'rejected', 'suspended', 'retired')),
    -- The price stands on the row until the first approval, and in price_versions from then on.
    ADD CONSTRAINT services_price_check CHECK ((draft_price IS NULL) = (published_at IS NOT NULL));

CREATE INDEX services_by_category ON services USING gin (categories) WITH (fastupdate = off);

DROP FUNCTION service_details(timestamptz);
-- A service as it is at `moment`, with what it has from elsewhere: its merchant; its price, which is the version
-- in force or the draft's; and the price that has been announced next. A single SELECT, so that the planner sees
-- through it as through a view.
CREATE FUNCTION service_details(moment timestamptz) RETURNS TABLE (
    service_id uuid, merchant_id uuid, merchant_name text, merchant_standing text, slug text, name text,
    description text, type text, status text, base_url text, documentation_url text, version text, tags text[],
    rate_limit_per_minute integer, additional_info text, rejection_reason text, suspension_reason text,
    price_version_id uuid, price jsonb,
    next_price_version_id uuid, next_price jsonb, next_price_starts_at timestamptz,
    next_price_created_at timestamptz,
    created_at timestamptz, updated_at timestamptz, published_at timestamptz,
    authentication_method text, formats text[], availability_ppm integer, latency_p95_ms integer,
    support_email text, support_url text, categories text[], visibility text, image_type text,
    runtime_parameters jsonb, skips_request_size boolean, skips_response_size boolean,
    first_byte_timeout_s integer, idle_timeout_s integer, total_timeout_s integer, max_connections integer,
    passes_cookies boolean, cors_origins text[], allows_websockets boolean, shows_costs boolean,
    quota_per_day integer, quota_per_month integer, limit_scope text,
    credential_kind text, credential_header_name text, sealed_credential bytea, credential_set_at timestamptz,
    signing_key_id uuid, sealed_signing_key bytea, signing_key_created_at timestamptz,
    previous_signing_key_id uuid, previous_signing_key_created_at timestamptz,
    snapshot_version bigint
) LANGUAGE sql STABLE AS $$
    SELECT s.service_id, s.merchant_id, m.display_name, m.standing, s.slug, s.name,
           s.description, s.type, s.status, s.base_url, s.documentation_url, s.version, s.tags,
           s.rate_limit_per_minute, s.additional_info, s.rejection_reason, s.suspension_reason,
           -- The first one's start may be a moment ahead of another process's clock.
           coalesce(present.price_version_id, next.price_version_id),
           coalesce(present.price, next.price, s.draft_price),
           next.price_version_id, next.price, next.starts_at, next.created_at,
           s.created_at, s.updated_at, s.published_at,
           s.authentication_method, s.formats, s.availability_ppm, s.latency_p95_ms,
           s.support_email, s.support_url, s.categories, s.visibility, s.image_type,
           s.runtime_parameters, s.skips_request_size, s.skips_response_size,
           s.first_byte_timeout_s, s.idle_timeout_s, s.total_timeout_s, s.max_connections,
           s.passes_cookies, s.cors_origins, s.allows_websockets, s.shows_costs,
           s.quota_per_day, s.quota_per_month, s.limit_scope,
           s.credential_kind, s.credential_header_name, s.sealed_credential, s.credential_set_at,
           s.signing_key_id, s.sealed_signing_key, s.signing_key_created_at,
           s.previous_signing_key_id, s.previous_signing_key_created_at,
           s.snapshot_version
    FROM services AS s
    JOIN merchants AS m ON m.merchant_id = s.merchant_id
    LEFT JOIN LATERAL (
        SELECT v.price_version_id, v.price FROM price_versions AS v
        WHERE v.service_id = s.service_id AND v.canceled_at IS NULL AND v.starts_at <= moment
        ORDER BY v.starts_at DESC LIMIT 1
    ) AS present ON true
    LEFT JOIN LATERAL (
        SELECT v.price_version_id, v.price, v.starts_at, v.created_at FROM price_versions AS v
        WHERE v.service_id = s.service_id AND v.canceled_at IS NULL AND v.starts_at > moment
        ORDER BY v.starts_at LIMIT 1
    ) AS next ON true
$$;
