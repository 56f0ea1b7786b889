-- How the gateway forwards a service's calls. A number that is 0 stands for the platform's default.
ALTER TABLE services
    ADD COLUMN first_byte_timeout_s integer NOT NULL DEFAULT 0 CHECK (first_byte_timeout_s BETWEEN 0 AND 300),
    ADD COLUMN idle_timeout_s integer NOT NULL DEFAULT 0 CHECK (idle_timeout_s BETWEEN 0 AND 3600),
    ADD COLUMN total_timeout_s integer NOT NULL DEFAULT 0 CHECK (total_timeout_s BETWEEN 0 AND 86400),
    ADD COLUMN max_connections integer NOT NULL DEFAULT 0 CHECK (max_connections BETWEEN 0 AND 10000),
    ADD COLUMN passes_cookies boolean NOT NULL DEFAULT false,
    -- "*" alone, or origins as browsers send them.
    ADD COLUMN cors_origins text[] NOT NULL DEFAULT '{}'
        CHECK (cardinality(cors_origins) <= 20 AND array_position(cors_origins, NULL) IS NULL
               AND array_to_string(cors_origins, ' ') ~ '^(\*|https?://[^ /?#]+( https?://[^ /?#]+)*)?$'),
    ADD COLUMN allows_websockets boolean NOT NULL DEFAULT false,
    ADD COLUMN shows_costs boolean NOT NULL DEFAULT false,
    ADD COLUMN quota_per_day integer NOT NULL DEFAULT 0 CHECK (quota_per_day BETWEEN 0 AND 1000000000),
    ADD COLUMN quota_per_month integer NOT NULL DEFAULT 0 CHECK (quota_per_month BETWEEN 0 AND 2000000000),
    -- What lets AMS in at the upstream: a header of each call, its value sealed.
    ADD COLUMN credential_header_name text CHECK (credential_header_name <> ''),
    ADD COLUMN sealed_credential bytea,
    ADD COLUMN credential_set_at timestamptz,
    -- What calls are signed with, sealed; and the key before, which may still be met but never signs again.
    ADD COLUMN signing_key_id uuid,
    ADD COLUMN sealed_signing_key bytea,
    ADD COLUMN signing_key_created_at timestamptz,
    ADD COLUMN previous_signing_key_id uuid,
    ADD COLUMN previous_signing_key_created_at timestamptz,
    ADD CHECK (num_nonnulls(credential_header_name, sealed_credential, credential_set_at) IN (0, 3)),
    ADD CHECK (num_nonnulls(signing_key_id, sealed_signing_key, signing_key_created_at) IN (0, 3)),
    ADD CHECK (num_nonnulls(previous_signing_key_id, previous_signing_key_created_at) IN (0, 2)),
    ADD CHECK (previous_signing_key_id IS NULL OR signing_key_id IS NOT NULL),
    -- Nobody calls an image through the gateway.
    ADD CHECK (type <> 'docker' OR num_nonnulls(credential_header_name, signing_key_id) = 0);

CREATE OR REPLACE VIEW service_details AS
SELECT services.service_id, services.merchant_id, merchants.display_name AS merchant_name,
       merchants.standing AS merchant_standing, services.slug, services.name, services.description,
       services.type, services.status, services.base_url, services.documentation_url, services.version,
       services.tags, services.rate_limit_per_minute, services.additional_info,
       services.rejection_reason, services.price_version_id,
       coalesce(price_versions.model, services.draft_price_model) AS price_model,
       coalesce(price_versions.currency, services.draft_price_currency) AS price_currency,
       coalesce(price_versions.amount, services.draft_price_amount) AS price_amount,
       services.created_at, services.updated_at, services.published_at,
       services.first_byte_timeout_s, services.idle_timeout_s, services.total_timeout_s,
       services.max_connections, services.passes_cookies, services.cors_origins,
       services.allows_websockets, services.shows_costs, services.quota_per_day, services.quota_per_month,
       services.credential_header_name, services.sealed_credential, services.credential_set_at,
       services.signing_key_id, services.sealed_signing_key, services.signing_key_created_at,
       services.previous_signing_key_id, services.previous_signing_key_created_at
FROM services
JOIN merchants ON merchants.merchant_id = services.merchant_id
LEFT JOIN price_versions ON price_versions.price_version_id = services.price_version_id;
