-- Who may use which service: requests, grants, and what merchants have set for consumers.

-- fragment: access_request_columns
access_request_id, consumer_id, project_id, service_id, merchant_id, status, note, reason, requested_at,
    requested_by, resolved_at, resolver,
    (SELECT grants.grant_id FROM grants WHERE grants.access_request_id = access_requests.access_request_id),
    (SELECT grants.ended_at FROM grants WHERE grants.access_request_id = access_requests.access_request_id),
    (SELECT grants.ended_by FROM grants WHERE grants.access_request_id = access_requests.access_request_id),
    coalesce((
        SELECT grants.end_reason FROM grants WHERE grants.access_request_id = access_requests.access_request_id
    ), '') AS end_reason

-- fragment: grant_columns
grant_id, consumer_id, project_id, service_id, merchant_id, access_request_id, granted_at, ended_at, ended_by,
    end_reason

-- fragment: seen
-- Who may see what belongs to a person or a project: it, or who is in the project in any role.
CASE WHEN project_id IS NULL THEN consumer_id = :user_id ELSE project_id IN (
    SELECT seers.project_id FROM project_members AS seers WHERE seers.user_id = :user_id
) END

-- name: add_access_request
-- No row when one for this service is pending already.
INSERT INTO access_requests (access_request_id, consumer_id, project_id, service_id, merchant_id, note,
    requested_at, requested_by)
VALUES (:access_request_id, :consumer_id, :project_id, :service_id, :merchant_id, :note, :requested_at,
    :requested_by)
ON CONFLICT (holder_id, service_id) WHERE status = 'pending' DO NOTHING
RETURNING {access_request_columns};

-- name: find_access_request
SELECT {access_request_columns} FROM access_requests
WHERE access_request_id = :access_request_id;

-- name: lock_access_request
SELECT {access_request_columns} FROM access_requests
WHERE access_request_id = :access_request_id
FOR UPDATE;

-- name: find_seen_request
SELECT {access_request_columns} FROM access_requests
WHERE access_request_id = :access_request_id AND {seen};

-- name: resolve_access_request
UPDATE access_requests
SET status = :status, reason = :reason, resolved_at = :resolved_at, resolved_by = :resolved_by, resolver = :resolver
WHERE access_request_id = :access_request_id AND status = 'pending'
RETURNING {access_request_columns};

-- name: withdraw_project_requests
UPDATE access_requests
SET status = 'withdrawn', resolved_at = :resolved_at, resolved_by = :resolved_by, resolver = 'consumer'
WHERE project_id = :project_id AND status = 'pending';

-- name: list_access_requests
-- Oldest first: with the filter 'pending', who has waited longest stands on top.
-- order requested_at: timestamptz requested_at, uuid access_request_id
SELECT {access_request_columns}, {key} FROM access_requests
WHERE (:status::text IS NULL OR status = :status)
    AND (:consumer_id::uuid IS NULL OR consumer_id = :consumer_id)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_consumer_access_requests
-- order requested_at desc: timestamptz requested_at, uuid access_request_id
SELECT {access_request_columns}, {key} FROM access_requests
WHERE holder_id = ANY(:holder_ids::uuid[])
    AND (:status::text IS NULL OR status = :status)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_merchant_access_requests
-- order requested_at: timestamptz requested_at, uuid access_request_id
SELECT {access_request_columns}, {key} FROM access_requests
WHERE merchant_id = :merchant_id
    AND (:status::text IS NULL OR status = :status)
    AND (:service_id::uuid IS NULL OR service_id = :service_id)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: is_granted
SELECT EXISTS (
    SELECT FROM grants WHERE holder_id = :holder_id AND service_id = :service_id AND ended_at IS NULL
);

-- name: add_grant
-- What an approved request gives, from the moment of its approval.
INSERT INTO grants (grant_id, consumer_id, project_id, service_id, merchant_id, access_request_id, granted_at)
VALUES (:grant_id, :consumer_id, :project_id, :service_id, :merchant_id, :access_request_id, :granted_at);

-- name: ungranted
SELECT wanted.service_id
FROM unnest(:service_ids::uuid[]) AS wanted (service_id)
WHERE NOT EXISTS (
    SELECT FROM grants
    WHERE grants.holder_id = :holder_id AND grants.service_id = wanted.service_id AND grants.ended_at IS NULL
        AND NOT EXISTS (
            SELECT FROM consumer_terms AS terms
            WHERE terms.service_id = grants.service_id AND terms.consumer_id = grants.consumer_id
                AND terms.blocked_at IS NOT NULL
        )
);

-- name: granted_services
-- The consumer's own, and those of projects where its role is among `roles` and that it may use there.
SELECT service_id
FROM grants
LEFT JOIN project_members AS members ON members.project_id = grants.project_id AND members.user_id = :consumer_id
WHERE holder_id = ANY(:holder_ids::uuid[]) AND ended_at IS NULL
    AND (
        grants.project_id IS NULL
        OR members.role = ANY(:roles::smallint[])
            AND (members.service_ids = '{}' OR service_id = ANY(members.service_ids))
    )
    AND NOT EXISTS (
        SELECT FROM consumer_terms AS terms
        WHERE terms.service_id = grants.service_id AND terms.consumer_id = grants.consumer_id
            AND terms.blocked_at IS NOT NULL
    )
GROUP BY service_id
ORDER BY min(granted_at), service_id;

-- name: find_grant
SELECT {grant_columns} FROM grants WHERE grant_id = :grant_id;

-- name: find_seen_grant
SELECT {grant_columns} FROM grants WHERE grant_id = :grant_id AND {seen};

-- name: end_grant
UPDATE grants
SET ended_at = greatest(:ended_at, granted_at), ended_by = :ended_by, end_reason = :end_reason
WHERE grant_id = :grant_id AND ended_at IS NULL
RETURNING {grant_columns};

-- name: end_project_grants
UPDATE grants
SET ended_at = greatest(:ended_at, granted_at), ended_by = 'consumer', end_reason = :end_reason
WHERE project_id = :project_id AND ended_at IS NULL;

-- name: end_service_grants
-- A consumer's access to one service, its projects' too.
UPDATE grants
SET ended_at = greatest(:ended_at, granted_at), ended_by = 'merchant', end_reason = :end_reason
WHERE consumer_id = :consumer_id AND service_id = :service_id AND ended_at IS NULL
RETURNING {grant_columns};

-- name: hand_over_grants
UPDATE grants SET consumer_id = :consumer_id WHERE project_id = :project_id;

-- name: hand_over_requests
UPDATE access_requests SET consumer_id = :consumer_id WHERE project_id = :project_id;

-- name: list_consumer_grants
-- order granted_at desc: timestamptz granted_at, uuid grant_id
SELECT {grant_columns}, {key} FROM grants
WHERE holder_id = ANY(:holder_ids::uuid[])
    AND (:service_id::uuid IS NULL OR service_id = :service_id)
    AND (NOT :only_in_force::boolean OR ended_at IS NULL)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_grants_of_consumer
-- order granted_at desc: timestamptz granted_at, uuid grant_id
SELECT {grant_columns}, {key} FROM grants
WHERE consumer_id = :consumer_id
    AND (:service_id::uuid IS NULL OR service_id = :service_id)
    AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: list_grants_of_service
-- order granted_at desc: timestamptz granted_at, uuid grant_id
SELECT {grant_columns}, {key} FROM grants
WHERE service_id = :service_id AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: find_access_policy
SELECT service_id, merchant_id, merchant_approves, name, slug FROM services WHERE service_id = :service_id;

-- name: find_access_policies
SELECT service_id, merchant_id, merchant_approves, name, slug FROM services
WHERE service_id = ANY(:service_ids::uuid[]);

-- name: set_access_policy
UPDATE services SET merchant_approves = :merchant_approves
WHERE service_id = :service_id
RETURNING service_id, merchant_id, merchant_approves, name, slug;

-- fragment: service_consumer_columns
-- A row of grants, the latest of its consumer and service, with the merchant's terms.
latest.grant_id, latest.consumer_id, latest.service_id, latest.granted_at, latest.ended_at, latest.ended_by,
    latest.end_reason, terms.blocked_at, coalesce(terms.block_reason, '') AS block_reason,
    coalesce(terms.per_minute, 0) AS per_minute, coalesce(terms.per_day, 0) AS per_day,
    coalesce(terms.per_month, 0) AS per_month

-- fragment: is_latest
-- Of a consumer's grants for one service the one that says whether it has access: one in force, else the newest.
NOT EXISTS (
    SELECT FROM grants AS later
    WHERE later.consumer_id = latest.consumer_id AND later.service_id = latest.service_id
        AND ((later.ended_at IS NULL), later.granted_at, later.grant_id)
            > ((latest.ended_at IS NULL), latest.granted_at, latest.grant_id)
)

-- name: list_service_consumers
-- order granted_at desc: timestamptz latest.granted_at, uuid latest.grant_id
SELECT {service_consumer_columns}, {key}
FROM grants AS latest
LEFT JOIN consumer_terms AS terms USING (service_id, consumer_id)
WHERE latest.merchant_id = :merchant_id AND latest.service_id = :service_id AND {is_latest} AND {after}
ORDER BY {order}
LIMIT :limit;

-- name: find_service_consumers
SELECT {service_consumer_columns}
FROM grants AS latest
LEFT JOIN consumer_terms AS terms USING (service_id, consumer_id)
WHERE latest.merchant_id = :merchant_id AND latest.consumer_id = :consumer_id
    AND (:service_id::uuid IS NULL OR latest.service_id = :service_id) AND {is_latest}
ORDER BY latest.granted_at DESC, latest.grant_id;

-- name: list_consumers_of_merchant
-- There is no way back from a pseudonym: each consumer's is made and compared.
SELECT DISTINCT consumer_id FROM grants
WHERE merchant_id = :merchant_id AND (:service_id::uuid IS NULL OR service_id = :service_id);

-- name: set_block
INSERT INTO consumer_terms (service_id, consumer_id, merchant_id, blocked_at, block_reason)
VALUES (:service_id, :consumer_id, :merchant_id, :blocked_at, :block_reason)
ON CONFLICT (service_id, consumer_id)
DO UPDATE SET blocked_at = excluded.blocked_at, block_reason = excluded.block_reason;

-- name: set_limits
INSERT INTO consumer_terms (service_id, consumer_id, merchant_id, per_minute, per_day, per_month)
VALUES (:service_id, :consumer_id, :merchant_id, :per_minute, :per_day, :per_month)
ON CONFLICT (service_id, consumer_id)
DO UPDATE SET per_minute = excluded.per_minute, per_day = excluded.per_day, per_month = excluded.per_month;

-- name: is_blocked
SELECT EXISTS (
    SELECT FROM consumer_terms
    WHERE service_id = :service_id AND consumer_id = :consumer_id AND blocked_at IS NOT NULL
);

-- name: list_service_keys
-- A consumer's keys for a merchant's services, or for one of them; those revoked long ago too.
SELECT
    keys.key_id, keys.is_test, keys.created_at, keys.expires_at, keys.revoked_at AS key_revoked_at,
    keys.disabled_at, key_services.service_id, key_services.revoked_at
FROM keys
JOIN key_services USING (key_id)
JOIN grants USING (grant_id)
WHERE keys.consumer_id = :consumer_id AND grants.merchant_id = :merchant_id
    AND (:service_id::uuid IS NULL OR key_services.service_id = :service_id)
ORDER BY keys.created_at DESC, keys.key_id, key_services.service_id;

-- name: revoke_service_key
UPDATE key_services SET revoked_at = :revoked_at
WHERE key_id = :key_id AND service_id = :service_id AND revoked_at IS NULL;
