-- The key that calls will be signed with from a time on, so that their merchant's API can know it before.
ALTER TABLE services
    ADD COLUMN next_signing_key_id uuid,
    ADD COLUMN sealed_next_signing_key bytea,
    ADD COLUMN next_signing_key_created_at timestamptz,
    ADD COLUMN next_signing_key_starts_at timestamptz,
    ADD CHECK (
        num_nonnulls(next_signing_key_id, sealed_next_signing_key, next_signing_key_created_at,
            next_signing_key_starts_at) IN (0, 4)
    ),
    ADD CHECK (next_signing_key_id IS NULL OR signing_key_id IS NOT NULL);

DROP FUNCTION service_details(timestamptz);
-- A service as it is at `moment`, with what it has from elsewhere: its merchant; its price, which is the version
-- in force or the draft's; the price that has been announced next; and its signing keys, of which the next takes the
-- present one's place once it has started. A single SELECT, so that the planner sees through it as through a view.
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
    next_signing_key_id uuid, sealed_next_signing_key bytea, next_signing_key_created_at timestamptz,
    next_signing_key_starts_at timestamptz,
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
           CASE WHEN s.next_signing_key_starts_at <= moment THEN s.next_signing_key_id ELSE s.signing_key_id END,
           CASE WHEN s.next_signing_key_starts_at <= moment THEN s.sealed_next_signing_key ELSE s.sealed_signing_key END,
           CASE WHEN s.next_signing_key_starts_at <= moment THEN s.next_signing_key_created_at ELSE s.signing_key_created_at END,
           CASE WHEN s.next_signing_key_starts_at <= moment THEN s.signing_key_id ELSE s.previous_signing_key_id END,
           CASE WHEN s.next_signing_key_starts_at <= moment THEN s.signing_key_created_at ELSE s.previous_signing_key_created_at END,
           CASE WHEN s.next_signing_key_starts_at > moment THEN s.next_signing_key_id END,
           CASE WHEN s.next_signing_key_starts_at > moment THEN s.sealed_next_signing_key END,
           CASE WHEN s.next_signing_key_starts_at > moment THEN s.next_signing_key_created_at END,
           CASE WHEN s.next_signing_key_starts_at > moment THEN s.next_signing_key_starts_at END,
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
