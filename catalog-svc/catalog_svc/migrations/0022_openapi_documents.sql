-- OpenAPI documents of API services.
CREATE TABLE openapi_documents (
    document_id uuid PRIMARY KEY,
    service_id uuid NOT NULL REFERENCES services,
    -- As it was given.
    content text NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 1048576),
    media_type text NOT NULL CHECK (media_type IN ('application/json', 'application/yaml')),
    openapi_version text NOT NULL,
    title text NOT NULL,
    version text NOT NULL,
    operation_count integer NOT NULL CHECK (operation_count BETWEEN 0 AND 500),
    -- What pages show of it: an ams.catalog.v1.ApiReference.
    reference bytea NOT NULL,
    -- As consumers get it, but for the service's own addresses (catalog_svc.openapi.redacting).
    public_content text NOT NULL,
    -- Of its operations: paths and summaries, to be searched.
    words text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX openapi_documents_by_service ON openapi_documents (service_id);

-- What lists and pages say of a document without it.
CREATE FUNCTION openapi_summary(wanted uuid) RETURNS jsonb LANGUAGE sql STABLE STRICT AS $$
    SELECT jsonb_build_object('document_id', document_id, 'title', title, 'version', version,
        'openapi_version', openapi_version, 'operation_count', operation_count, 'created_at', created_at)
    FROM openapi_documents WHERE document_id = wanted
$$;

ALTER TABLE services
    ADD COLUMN document_id uuid REFERENCES openapi_documents,
    -- The document's, for the search.
    ADD COLUMN operation_words text NOT NULL DEFAULT '',
    ADD CONSTRAINT services_document_check CHECK (type = 'api' OR document_id IS NULL);
-- Foreign keys are looked through when a document goes.
CREATE INDEX services_by_document ON services (document_id) WHERE document_id IS NOT NULL;

-- A revision may change the document: to another one, or to none. Once decided it keeps only that it did.
ALTER TABLE service_revisions
    ADD COLUMN changes_document boolean NOT NULL DEFAULT false,
    ADD COLUMN document_id uuid REFERENCES openapi_documents,
    ADD CHECK (document_id IS NULL OR (changes_document AND status = 'pending'));
CREATE INDEX service_revisions_by_document ON service_revisions (document_id) WHERE document_id IS NOT NULL;

-- With the column goes its index.
ALTER TABLE services DROP COLUMN search;
ALTER TABLE services
    ADD COLUMN search tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(stems_and_words(name), 'A') || setweight(stems_and_words(tag_text(tags)), 'B')
        || setweight(stems_and_words(merchant_name), 'C') || setweight(stems_and_words(description), 'D')
        || setweight(stems_and_words(operation_words), 'D')
    ) STORED;
CREATE INDEX services_by_words ON services USING gin (search) WITH (fastupdate = off);

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
    snapshot_version bigint, document jsonb
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
           s.snapshot_version, openapi_summary(s.document_id)
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
