-- name: add_unknown_merchant
-- Every service has a merchant to join and to lock, even before identity-svc has told of it.
INSERT INTO merchants (merchant_id) VALUES (:merchant_id) ON CONFLICT DO NOTHING;

-- name: save_merchant
-- No row comes back for what is of the past: a dead letter is replayed after what came later.
INSERT INTO merchants (merchant_id, display_name, slug)
VALUES (:merchant_id, :display_name, :slug)
ON CONFLICT (merchant_id) DO UPDATE SET display_name = excluded.display_name, slug = excluded.slug
WHERE merchants.standing_version <= :standing_version
RETURNING merchant_id;

-- name: lock_standing
SELECT standing, standing_version FROM merchants WHERE merchant_id = :merchant_id FOR UPDATE;

-- name: set_standing
UPDATE merchants SET standing = :standing, standing_version = :standing_version
WHERE merchant_id = :merchant_id;

-- name: rename_merchant_in_services
UPDATE services SET merchant_name = :merchant_name
WHERE merchant_id = :merchant_id AND merchant_name <> :merchant_name;

-- name: lock_merchant
SELECT display_name, standing FROM merchants WHERE merchant_id = :merchant_id FOR SHARE;

-- name: lock_service_count
-- Until the commit nobody else makes a service of the merchant.
SELECT pg_advisory_xact_lock(hashtextextended('services of ' || :merchant_id::uuid::text, 0));

-- name: count_services
SELECT count(*) FROM services WHERE merchant_id = :merchant_id AND status <> 'retired';

-- name: lock_merchant_of_service
SELECT merchant_id FROM merchants
WHERE merchant_id = (SELECT merchant_id FROM services WHERE service_id = :service_id) FOR SHARE;

-- name: lock_service
SELECT service_id FROM services
WHERE service_id = :service_id AND (:owner_id::uuid IS NULL OR merchant_id = :owner_id)
FOR UPDATE;

-- name: insert_service
-- No row: the slug is taken.
INSERT INTO services (
    service_id, merchant_id, slug, name, description, type, status, base_url, documentation_url, version,
    tags, rate_limit_per_minute, additional_info, draft_price, created_at, updated_at, merchant_name, first_byte_timeout_s, idle_timeout_s,
    total_timeout_s, max_connections, passes_cookies, cors_origins, allows_websockets, shows_costs,
    quota_per_day, quota_per_month, limit_scope,
    authentication_method, formats, availability_ppm, latency_p95_ms, support_email, support_url,
    categories, visibility, image_type, runtime_parameters, skips_request_size, skips_response_size
) VALUES (
    :service_id, :merchant_id, :slug, :name, :description, :type, :status, :base_url,
    :documentation_url, :version, :tags, :rate_limit_per_minute, :additional_info, :draft_price::jsonb,
    :now, :now, :merchant_name, :first_byte_timeout_s, :idle_timeout_s,
    :total_timeout_s, :max_connections, :passes_cookies, :cors_origins, :allows_websockets, :shows_costs,
    :quota_per_day, :quota_per_month, :limit_scope,
    :authentication_method, :formats, :availability_ppm, :latency_p95_ms, :support_email, :support_url,
    :categories, :visibility, :image_type, :runtime_parameters::jsonb, :skips_request_size, :skips_response_size
)
ON CONFLICT (slug) DO NOTHING
RETURNING service_id;

-- name: save_service
UPDATE services
SET name = :name, description = :description, base_url = :base_url, version = :version, tags = :tags,
    documentation_url = :documentation_url, rate_limit_per_minute = :rate_limit_per_minute,
    additional_info = :additional_info, status = :status, rejection_reason = :rejection_reason,
    suspension_reason = :suspension_reason,
    authentication_method = :authentication_method, formats = :formats,
    availability_ppm = :availability_ppm, latency_p95_ms = :latency_p95_ms,
    support_email = :support_email, support_url = :support_url, categories = :categories,
    visibility = :visibility, image_type = :image_type, runtime_parameters = :runtime_parameters::jsonb,
    skips_request_size = :skips_request_size, skips_response_size = :skips_response_size,
    draft_price = :draft_price::jsonb, published_at = :published_at, updated_at = :updated_at,
    first_byte_timeout_s = :first_byte_timeout_s, idle_timeout_s = :idle_timeout_s,
    total_timeout_s = :total_timeout_s, max_connections = :max_connections,
    passes_cookies = :passes_cookies, cors_origins = :cors_origins,
    allows_websockets = :allows_websockets, shows_costs = :shows_costs,
    quota_per_day = :quota_per_day, quota_per_month = :quota_per_month, limit_scope = :limit_scope,
    document_id = :document_id,
    operation_words = coalesce((SELECT words FROM openapi_documents WHERE document_id = :document_id), ''),
    credential_kind = :credential_kind, credential_header_name = :credential_header_name, sealed_credential = :sealed_credential,
    credential_set_at = :credential_set_at,
    signing_key_id = :signing_key_id, sealed_signing_key = :sealed_signing_key,
    signing_key_created_at = :signing_key_created_at,
    previous_signing_key_id = :previous_signing_key_id,
    previous_signing_key_created_at = :previous_signing_key_created_at,
    next_signing_key_id = :next_signing_key_id, sealed_next_signing_key = :sealed_next_signing_key,
    next_signing_key_created_at = :next_signing_key_created_at,
    next_signing_key_starts_at = :next_signing_key_starts_at
WHERE service_id = :service_id;

-- fragment: price_version_columns
price_version_id, service_id, price, starts_at, created_at, canceled_at

-- name: insert_price_version
INSERT INTO price_versions (price_version_id, service_id, price, starts_at, created_at)
VALUES (:price_version_id, :service_id, :price::jsonb, :starts_at, :created_at);

-- name: cancel_price_version
UPDATE price_versions SET canceled_at = :canceled_at
WHERE price_version_id = :price_version_id AND canceled_at IS NULL;

-- name: find_price_version
SELECT {price_version_columns} FROM price_versions
WHERE service_id = :service_id AND price_version_id = :price_version_id;

-- name: list_announced_prices
-- Those that haven't started, in their order.
SELECT {price_version_columns} FROM price_versions
WHERE service_id = :service_id AND canceled_at IS NULL AND starts_at > :now
ORDER BY starts_at;

-- name: list_price_versions
-- Newest start first. Canceled ones only where there is room: a merchant may make as many as it likes.
SELECT {price_version_columns} FROM (
    SELECT {price_version_columns} FROM price_versions WHERE service_id = :service_id
    ORDER BY canceled_at IS NOT NULL, starts_at DESC, created_at DESC
    LIMIT :limit
) AS versions
ORDER BY starts_at DESC, created_at DESC;

-- name: find_service
SELECT * FROM service_details(:now)
WHERE service_id = :service_id AND (:owner_id::uuid IS NULL OR merchant_id = :owner_id);

-- name: find_services
SELECT * FROM service_details(:now) WHERE service_id = ANY(:service_ids::uuid[]);

-- name: find_service_by_slug
SELECT * FROM service_details(:now) WHERE slug = :slug;

-- name: find_service_names
SELECT services.service_id, services.name, services.slug, services.merchant_id,
    merchants.display_name AS merchant_name
FROM services JOIN merchants USING (merchant_id)
WHERE service_id = ANY(:service_ids::uuid[])
  AND (:is_for_all OR merchant_id = :merchant_id OR (:is_for_consumer AND published_at IS NOT NULL));

-- fragment: next_version
-- The clock pushes it on: after a restore from a backup no version comes back that a gateway has seen with
-- another snapshot. A clock that was set back doesn't matter.
greatest(snapshot_version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)

-- fragment: next_start
least(next_signing_key_starts_at, (SELECT min(starts_at) FROM price_versions AS v
    WHERE v.service_id = services.service_id AND v.canceled_at IS NULL AND v.starts_at > :now))

-- name: save_price_summary
UPDATE services
SET typical_month_currency = :currency, typical_month_amount = :amount, price_models = :models
WHERE service_id = :service_id
  AND (typical_month_currency, typical_month_amount, price_models) IS DISTINCT FROM (:currency, :amount, :models::text[]);

-- name: renew_snapshot
UPDATE services SET snapshot_version = {next_version}, snapshot_due_at = {next_start}
WHERE service_id = :service_id;

-- name: renew_snapshots
UPDATE services SET snapshot_version = {next_version}, snapshot_due_at = {next_start}
WHERE merchant_id = :merchant_id;

-- name: list_due_snapshots
SELECT service_id FROM services WHERE snapshot_due_at <= :now ORDER BY snapshot_due_at LIMIT :limit;

-- name: is_snapshot_due
SELECT EXISTS (SELECT FROM services WHERE service_id = :service_id AND snapshot_due_at <= :now);

-- name: find_snapshots
SELECT * FROM service_details(:now)
WHERE service_id = ANY(:service_ids::uuid[]) OR slug = ANY(:slugs::text[]);

-- name: find_services_with_words
-- Through the index of the longest word's pattern, and those of them that fit all patterns; at most :most.
SELECT service_id FROM services,
    LATERAL (SELECT (name || ' ' || slug || ' ' || description || ' ' || merchant_name) COLLATE pg_c_utf8 AS body) AS texts
WHERE lower(body) LIKE lower(:longest::text COLLATE pg_c_utf8) AND body ILIKE ALL (:patterns::text[])
LIMIT :most;

-- name: list_services
-- Names sort by code points in lower case: the same on every server, and no update of a library ever
-- reorders (and so breaks) their indexes, as it does with a locale's collation.
-- order created_at desc: timestamptz created_at, uuid service_id
-- order updated_at: timestamptz updated_at, uuid service_id
-- order name: text lower(name COLLATE pg_c_utf8), uuid service_id
-- order status: text status COLLATE pg_c_utf8, uuid service_id
SELECT *, {key} FROM service_details(:now)
WHERE (:status::text IS NULL OR status = :status)
  AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
  AND (:service_ids::uuid[] IS NULL OR service_id = ANY(:service_ids))
  AND concat_ws(' ', name, slug, description, merchant_name) COLLATE pg_c_utf8 ILIKE ALL (:patterns::text[])
  AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_active_snapshots
-- A merchant's, a batch at a time by id.
SELECT * FROM service_details(:now)
WHERE merchant_id = :merchant_id AND status = 'active' AND service_id > :after_id
ORDER BY service_id
LIMIT :limit;

-- name: list_snapshots_to_write
-- For rebuilding them: of all that gateways may hold.
SELECT * FROM service_details(:now)
WHERE status IN ('active', 'suspended') AND service_id > :after_id
ORDER BY service_id
LIMIT :limit;

-- name: insert_document
INSERT INTO openapi_documents (document_id, service_id, content, media_type, openapi_version, title, version,
    operation_count, reference, public_content, words, created_at)
VALUES (:document_id, :service_id, :content, :media_type, :openapi_version, :title, :version,
    :operation_count, :reference, :public_content, :words, :created_at);

-- name: find_document_text
SELECT content, media_type, reference, public_content
FROM openapi_documents WHERE document_id = :document_id;

-- name: delete_unused_documents
-- Those that neither the service nor its open revision has.
DELETE FROM openapi_documents AS d
WHERE d.service_id = :service_id
  AND NOT EXISTS (SELECT FROM services AS s WHERE s.document_id = d.document_id)
  AND NOT EXISTS (SELECT FROM service_revisions AS r WHERE r.document_id = d.document_id);

-- fragment: revision_columns
revision_id, service_id, number, status, content, changes, reason, version, created_at, updated_at, decided_at,
changes_document, openapi_summary(document_id) AS document

-- name: insert_revision
-- Its service is locked: no two get one number.
INSERT INTO service_revisions
    (revision_id, service_id, number, status, content, changes_document, document_id, created_at, updated_at)
SELECT :revision_id, :service_id, coalesce(max(number), 0) + 1, 'pending', :content::jsonb, :changes_document,
    :document_id::uuid, :now, :now
FROM service_revisions WHERE service_id = :service_id
RETURNING {revision_columns};

-- name: save_revision
UPDATE service_revisions
SET status = :status, content = :content::jsonb, changes = :changes::jsonb, reason = :reason,
    version = :version, updated_at = :updated_at, decided_at = :decided_at,
    changes_document = :changes_document, document_id = :document_id
WHERE revision_id = :revision_id;

-- name: find_open_revision
SELECT {revision_columns} FROM service_revisions WHERE service_id = :service_id AND status = 'pending';

-- name: find_revision
SELECT {revision_columns} FROM service_revisions
WHERE service_id = :service_id AND revision_id = :revision_id;

-- name: find_newest_revisions
SELECT newest.* FROM unnest(:service_ids::uuid[]) AS wanted (service_id),
    LATERAL (
        SELECT {revision_columns} FROM service_revisions
        WHERE service_revisions.service_id = wanted.service_id ORDER BY number DESC LIMIT 1
    ) AS newest;

-- name: list_service_revisions
-- order created_at desc: timestamptz created_at, uuid revision_id
SELECT {revision_columns}, {key} FROM service_revisions
WHERE service_id = :service_id AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_pending_revisions
-- order created_at: timestamptz created_at, uuid revision_id
SELECT {revision_columns}, {key} FROM service_revisions
WHERE status = 'pending' AND {after}
ORDER BY {order}
LIMIT :limit;

-- fragment: invitation_columns
invitation_id, service_id, note, max_uses, created_at, expires_at, revoked_at,
(SELECT count(*) FROM service_viewers AS v WHERE v.invitation_id = service_invitations.invitation_id)::integer AS uses

-- name: insert_invitation
INSERT INTO service_invitations
    (invitation_id, service_id, token_sha256, note, max_uses, created_by, created_at, expires_at)
VALUES (:invitation_id, :service_id, :token_sha256, :note, :max_uses, :created_by, :now, :expires_at);

-- name: lock_invitation_by_token
SELECT invitation_id FROM service_invitations WHERE token_sha256 = :token_sha256 FOR UPDATE;

-- name: find_invitation
SELECT {invitation_columns} FROM service_invitations WHERE invitation_id = :invitation_id;

-- name: revoke_invitation
UPDATE service_invitations SET revoked_at = coalesce(revoked_at, :now)
WHERE invitation_id = :invitation_id AND service_id = :service_id
RETURNING invitation_id;

-- name: list_invitations
-- order created_at desc: timestamptz created_at, uuid invitation_id
SELECT {invitation_columns}, {key} FROM service_invitations
WHERE service_id = :service_id AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: has_accepted
SELECT EXISTS (SELECT FROM service_viewers WHERE invitation_id = :invitation_id AND user_id = :user_id);

-- name: add_viewer
INSERT INTO service_viewers (invitation_id, user_id, accepted_at) VALUES (:invitation_id, :user_id, :now)
ON CONFLICT DO NOTHING;

-- name: list_viewed_services
-- Those that somebody was invited to.
SELECT DISTINCT service_invitations.service_id
FROM service_viewers JOIN service_invitations USING (invitation_id)
WHERE service_viewers.user_id = :user_id AND service_invitations.revoked_at IS NULL;
