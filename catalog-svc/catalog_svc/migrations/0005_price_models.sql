-- A price is JSON in the form of ams_rating.price_json, and a version of it can be announced and canceled.
ALTER TABLE price_versions DISABLE TRIGGER price_versions_stay;
ALTER TABLE price_versions
    ADD COLUMN price jsonb,
    ADD COLUMN created_at timestamptz,
    -- Taken back before it started, so that it never was in force.
    ADD COLUMN canceled_at timestamptz CHECK (canceled_at < starts_at);

CREATE FUNCTION per_request(currency text, amount numeric) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object(
        'currency', currency,
        'components', jsonb_build_array(jsonb_build_object(
            'meter', 'requests', 'scheme', 'per_unit', 'amount', trim_scale(amount)::text)),
        'charge_rule', jsonb_build_object('is_client_error_free', false, 'is_abandoned_free', false))
$$;

UPDATE price_versions SET price = per_request(currency, amount), created_at = starts_at;
ALTER TABLE price_versions ENABLE TRIGGER price_versions_stay;

ALTER TABLE services ADD COLUMN draft_price jsonb;
UPDATE services SET draft_price = per_request(draft_price_currency, draft_price_amount)
WHERE draft_price_amount IS NOT NULL;

DROP FUNCTION per_request(text, numeric);

DROP VIEW service_details;
-- With the old columns go the constraints that name them.
ALTER TABLE price_versions
    DROP COLUMN model,
    DROP COLUMN currency,
    DROP COLUMN amount,
    ALTER COLUMN price SET NOT NULL,
    ALTER COLUMN created_at SET NOT NULL,
    DROP CONSTRAINT price_versions_service_id_starts_at_key;
ALTER TABLE services
    DROP COLUMN draft_price_model,
    DROP COLUMN draft_price_currency,
    DROP COLUMN draft_price_amount,
    -- Which version is in force follows from the versions and the time, and is said nowhere else.
    DROP COLUMN price_version_id,
    ADD CHECK ((draft_price IS NULL) = (status IN ('active', 'suspended'))),
    ADD CHECK (status <> 'active' OR published_at IS NOT NULL),
    -- When the snapshot that the gateways have stops being true: the start of the next price.
    ADD COLUMN snapshot_due_at timestamptz;
ALTER TABLE price_versions DROP CONSTRAINT price_versions_service_id_price_version_id_key;
CREATE INDEX services_by_snapshot_due ON services (snapshot_due_at) WHERE snapshot_due_at IS NOT NULL;
-- Two prices never start at once: so the latest that has started is one.
CREATE UNIQUE INDEX price_versions_in_order ON price_versions (service_id, starts_at) WHERE canceled_at IS NULL;
CREATE INDEX price_versions_by_service ON price_versions (service_id, starts_at);

DROP TRIGGER price_versions_stay ON price_versions;
DROP FUNCTION refuse_change();
-- Past usage is billed by its version, so what a version says is said for ever. All that may happen to one is
-- being canceled, once.
CREATE FUNCTION keep_price_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.canceled_at IS NULL AND NEW.canceled_at IS NOT NULL
       AND to_jsonb(NEW) - 'canceled_at' = to_jsonb(OLD) - 'canceled_at' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a price version is never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER price_versions_stay BEFORE UPDATE OR DELETE ON price_versions
    FOR EACH ROW EXECUTE FUNCTION keep_price_version();
CREATE TRIGGER price_versions_are_kept BEFORE TRUNCATE ON price_versions
    FOR EACH STATEMENT EXECUTE FUNCTION keep_price_version();

-- A service as it is at `moment`, with what it has from elsewhere: its merchant; its price, which is the version
-- in force or the draft's; and the price that has been announced next. A single SELECT, so that the planner sees
-- through it as through a view.
CREATE FUNCTION service_details(moment timestamptz) RETURNS TABLE (
    service_id uuid, merchant_id uuid, merchant_name text, merchant_standing text, slug text, name text,
    description text, type text, status text, base_url text, documentation_url text, version text, tags text[],
    rate_limit_per_minute integer, additional_info text, rejection_reason text,
    price_version_id uuid, price jsonb,
    next_price_version_id uuid, next_price jsonb, next_price_starts_at timestamptz,
    next_price_created_at timestamptz,
    created_at timestamptz, updated_at timestamptz, published_at timestamptz,
    first_byte_timeout_s integer, idle_timeout_s integer, total_timeout_s integer, max_connections integer,
    passes_cookies boolean, cors_origins text[], allows_websockets boolean, shows_costs boolean,
    quota_per_day integer, quota_per_month integer,
    credential_header_name text, sealed_credential bytea, credential_set_at timestamptz,
    signing_key_id uuid, sealed_signing_key bytea, signing_key_created_at timestamptz,
    previous_signing_key_id uuid, previous_signing_key_created_at timestamptz,
    snapshot_version bigint
) LANGUAGE sql STABLE AS $$
    SELECT s.service_id, s.merchant_id, m.display_name, m.standing, s.slug, s.name,
           s.description, s.type, s.status, s.base_url, s.documentation_url, s.version, s.tags,
           s.rate_limit_per_minute, s.additional_info, s.rejection_reason,
           -- The first one's start may be a moment ahead of another process's clock.
           coalesce(present.price_version_id, next.price_version_id),
           coalesce(present.price, next.price, s.draft_price),
           next.price_version_id, next.price, next.starts_at, next.created_at,
           s.created_at, s.updated_at, s.published_at,
           s.first_byte_timeout_s, s.idle_timeout_s, s.total_timeout_s, s.max_connections,
           s.passes_cookies, s.cors_origins, s.allows_websockets, s.shows_costs,
           s.quota_per_day, s.quota_per_month,
           s.credential_header_name, s.sealed_credential, s.credential_set_at,
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
