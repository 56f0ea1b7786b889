-- name: save_merchant
INSERT INTO merchants (merchant_id, slug) VALUES (:merchant_id, :slug)
ON CONFLICT (merchant_id) DO UPDATE SET slug = excluded.slug;

-- name: merchant_slug
SELECT slug FROM merchants WHERE merchant_id = :merchant_id;

-- name: add_repository
INSERT INTO repositories (service_id, merchant_id, name) VALUES (:service_id, :merchant_id, :name)
ON CONFLICT (service_id) DO NOTHING;

-- name: find_repository
SELECT service_id, merchant_id, name FROM repositories WHERE name = :name;

-- name: lock_repository
SELECT service_id, merchant_id, name FROM repositories WHERE service_id = :service_id FOR NO KEY UPDATE;

-- name: count_active_push_tokens
SELECT count(*) FROM push_tokens
WHERE service_id = :service_id AND revoked_at IS NULL AND expires_at > :now;

-- name: add_push_token
INSERT INTO push_tokens (push_token_id, token_hash, token_prefix, service_id, merchant_id, name, created_at,
    expires_at)
VALUES (:push_token_id, :token_hash, :token_prefix, :service_id, :merchant_id, :name, :created_at,
    :expires_at);

-- fragment: push_token
push_token_id, token_prefix, service_id, merchant_id, push_tokens.name, repositories.name AS repository,
    created_at, expires_at, revoked_at, last_used_at

-- name: find_push_token
SELECT {push_token}
FROM push_tokens JOIN repositories USING (service_id, merchant_id)
WHERE push_token_id = :push_token_id;

-- name: find_push_token_by_hash
SELECT {push_token}
FROM push_tokens JOIN repositories USING (service_id, merchant_id)
WHERE token_hash = :token_hash;

-- name: list_push_tokens
-- order created_at desc: timestamptz created_at, uuid push_token_id
SELECT {push_token}, {key}
FROM push_tokens JOIN repositories USING (service_id, merchant_id)
WHERE merchant_id = :merchant_id
    AND (:service_id::uuid IS NULL OR service_id = :service_id)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: lock_push_token
SELECT {push_token}
FROM push_tokens JOIN repositories USING (service_id, merchant_id)
WHERE push_token_id = :push_token_id AND merchant_id = :merchant_id
FOR UPDATE OF push_tokens;

-- name: revoke_push_token
UPDATE push_tokens SET revoked_at = :revoked_at WHERE push_token_id = :push_token_id AND revoked_at IS NULL;

-- name: touch_push_token
UPDATE push_tokens SET last_used_at = :used_at WHERE push_token_id = :push_token_id;

-- fragment: insert_image
INSERT INTO images (image_id, service_id, merchant_id, name, tag, digest, child_digests, media_type, size_bytes,
    status, rejection_reason, license_model, pushed_at)
VALUES (:image_id, :service_id, :merchant_id, :name, :tag, :digest, :child_digests::text[], :media_type,
    :size_bytes, :status, :rejection_reason, :license_model, :pushed_at)

-- fragment: image
images.image_id, service_id, merchant_id, name, tag, images.digest, child_digests, media_type, size_bytes,
    status, rejection_reason, license_model, pushed_at

-- fragment: pulls
(SELECT count(*) FROM pulls WHERE pulls.image_id = images.image_id) AS pulls

-- name: save_image
-- What was published once names one digest for ever: only a rejected version may be pushed anew. What
-- 0001_images.sql says of deprecated and deleted ones held until 0002; an applied migration can't be changed.
{insert_image}
ON CONFLICT (name, tag) DO UPDATE
SET digest = excluded.digest, child_digests = excluded.child_digests, media_type = excluded.media_type,
    size_bytes = excluded.size_bytes, status = excluded.status,
    rejection_reason = excluded.rejection_reason, license_model = excluded.license_model,
    pushed_at = excluded.pushed_at
WHERE images.status = 'rejected' OR (images.status = 'active' AND images.digest = excluded.digest)
RETURNING {image};

-- name: save_rejection
{insert_image}
ON CONFLICT (name, tag) DO UPDATE
SET digest = excluded.digest, media_type = excluded.media_type, size_bytes = excluded.size_bytes,
    status = excluded.status, rejection_reason = excluded.rejection_reason,
    license_model = excluded.license_model, pushed_at = excluded.pushed_at
WHERE images.status = 'rejected'
RETURNING image_id;

-- name: find_image
SELECT {image}, {pulls}
FROM images
WHERE image_id = :image_id AND status <> 'deleted'
    AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id);

-- name: list_images
-- order pushed_at desc: timestamptz pushed_at, uuid image_id
SELECT {image}, {pulls}, {key}
FROM images
WHERE status <> 'deleted'
    AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
    AND (:service_ids::uuid[] IS NULL OR service_id = ANY (:service_ids))
    AND (:status::text IS NULL OR status = :status)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: newest_images
SELECT {image}, {pulls}
FROM unnest(:service_ids::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT * FROM images
    WHERE service_id = wanted.id AND status <> 'deleted'
    ORDER BY pushed_at DESC, image_id DESC LIMIT :most::integer
) AS images
ORDER BY images.service_id, images.pushed_at DESC, images.image_id DESC;

-- name: list_stocked_services
SELECT DISTINCT service_id FROM images WHERE status = 'active' AND service_id = ANY(:service_ids::uuid[]);

-- name: find_tag
SELECT {image}
FROM images
WHERE name = :name AND tag = :tag;

-- name: find_digest
SELECT {image}
FROM images
    LEFT JOIN resolutions ON resolutions.image_id = images.image_id AND resolutions.token_id = :token_id
    LEFT JOIN pulls ON pulls.image_id = images.image_id AND pulls.token_id = :token_id
WHERE name = :name AND status IN ('active', 'deprecated')
    AND (images.digest = :digest OR :digest = ANY (child_digests))
-- Several versions may have it. A manifest that an index names belongs to the version that this access token
-- pulls already; else to the one that it asked for by tag last, else to one that it pulled, else to an active
-- one ('active' sorts before 'deprecated'), the newest first.
ORDER BY images.digest <> :digest AND pull_id IS NOT NULL DESC, resolved_at DESC NULLS LAST,
    pull_id IS NOT NULL DESC, status, pushed_at DESC
LIMIT 1;

-- name: is_in_use
SELECT EXISTS (
    SELECT FROM images
    WHERE name = :name AND status IN ('active', 'deprecated')
        AND (digest = :digest OR :digest = ANY (child_digests))
);

-- name: is_known
SELECT EXISTS (SELECT FROM images WHERE name = :name);

-- name: list_tags
SELECT tag FROM images
WHERE name = :name AND status = 'active' AND tag > :last COLLATE "C"
ORDER BY tag COLLATE "C"
LIMIT :row_limit;

-- name: deprecate_image
UPDATE images SET status = 'deprecated'
WHERE image_id = :image_id AND merchant_id = :merchant_id AND status = 'active'
RETURNING {image}, {pulls};

-- name: delete_versions
UPDATE images SET status = 'deleted'
WHERE name = :name AND status IN ('active', 'deprecated') AND (tag = :reference OR digest = :reference)
RETURNING {image};

-- name: add_pull
INSERT INTO pulls (pull_id, token_id, image_id, digest, consumer_id, key_id, project_id, pulled_at)
VALUES (:pull_id, :token_id, :image_id, :digest, :consumer_id, :key_id, :project_id, :pulled_at)
ON CONFLICT (token_id, image_id, digest) DO NOTHING;

-- name: count_pull
INSERT INTO pull_totals AS total (journal_id, day, merchant_id, consumer_id, pulls)
VALUES (:journal_id, :day, :merchant_id, :consumer_id, 1)
ON CONFLICT (journal_id, day, merchant_id, consumer_id) DO UPDATE SET pulls = total.pulls + 1
RETURNING pulls;

-- name: purge_pull_totals
DELETE FROM pull_totals WHERE day < :before;

-- name: add_resolution
INSERT INTO resolutions (token_id, image_id, resolved_at) VALUES (:token_id, :image_id, :resolved_at)
ON CONFLICT (token_id, image_id) DO UPDATE SET resolved_at = excluded.resolved_at;

-- name: purge_resolutions
DELETE FROM resolutions WHERE resolved_at < :before;

-- name: add_denial
-- Nothing is touched when the last one that was written down is younger than `before`.
INSERT INTO refusals (key_id, name, refused_at) VALUES (:key_id, :name, :refused_at)
ON CONFLICT (key_id, name) DO UPDATE SET refused_at = excluded.refused_at
WHERE refusals.refused_at <= :before;

-- name: save_manifest
INSERT INTO manifests (name, digest, blob_digests) VALUES (:name, :digest, :blob_digests::text[])
ON CONFLICT (name, digest) DO UPDATE SET blob_digests = excluded.blob_digests;

-- name: has_active_blob
SELECT EXISTS (
    SELECT FROM manifests JOIN images USING (name)
    WHERE name = :name AND :blob_digest = ANY (blob_digests) AND images.status = 'active'
        AND (images.digest = manifests.digest OR manifests.digest = ANY (images.child_digests))
);

-- name: list_unread_manifests
SELECT DISTINCT wanted.digest
FROM images, unnest(images.digest || images.child_digests) AS wanted (digest)
WHERE images.name = :name AND images.status = 'active'
    AND NOT EXISTS (SELECT FROM manifests WHERE manifests.name = :name AND manifests.digest = wanted.digest);

-- name: add_upload
INSERT INTO uploads (upload_id, name, push_token_id, session, changed_at)
VALUES (:upload_id, :name, :push_token_id, :session, :changed_at);

-- name: find_upload
SELECT upload_id, name, session, size_bytes, is_open FROM uploads
WHERE upload_id = :upload_id AND name = :name AND push_token_id = :push_token_id;

-- name: open_upload
-- Nothing is touched when another request adds to it, or has since the session was read.
UPDATE uploads SET is_open = true, changed_at = :changed_at
WHERE upload_id = :upload_id AND session = :session AND NOT is_open;

-- name: move_upload
UPDATE uploads SET session = :session, size_bytes = :size_bytes, is_open = :is_open, changed_at = :changed_at
WHERE upload_id = :upload_id;

-- name: end_upload
DELETE FROM uploads WHERE upload_id = :upload_id;

-- name: purge_uploads
DELETE FROM uploads WHERE changed_at < :before;

-- name: list_project_pulls
-- order last_pulled_at desc: timestamptz last_pulled_at, uuid image_id
SELECT image_id, service_id, name, tag, status, pulls, last_pulled_at, key_ids, {key}
FROM (
    SELECT image_id, count(*) AS pulls, max(pulled_at) AS last_pulled_at, array_agg(DISTINCT key_id) AS key_ids
    FROM pulls WHERE project_id = :project_id GROUP BY image_id
) AS pulled
JOIN images USING (image_id)
WHERE {after}
ORDER BY {order}
LIMIT :limit;
