-- What stands in projects and project_members is published whenever it changes (publishing.py). Every change
-- locks its project's row first, and so all changes of one project are in one order.

-- fragment: project_columns
p.project_id, p.name, p.description, p.owner_id, o.name AS owner_name, m.role, m.service_ids,
(SELECT count(*) FROM project_members each WHERE each.project_id = p.project_id)::integer AS member_count,
p.created_at, p.closed_at, p.offered_to_id

-- fragment: invite_columns
i.invitation_id, i.email, i.role, i.service_ids, i.created_at, i.expires_at, u.name AS invited_by_name

-- name: lock_person
-- Until the commit nobody else adds to what is counted of this person.
SELECT pg_advisory_xact_lock(hashtextextended('projects of ' || :user_id::uuid, 0));

-- name: count_owned
SELECT count(*)::integer FROM projects WHERE owner_id = :user_id AND NOT is_closed;

-- name: count_joined
SELECT count(*)::integer FROM project_members JOIN projects USING (project_id)
WHERE user_id = :user_id AND NOT is_closed;

-- name: insert_project
INSERT INTO projects (project_id, name, description, owner_id, created_at)
VALUES (:project_id, :name, :description, :owner_id, :now);

-- name: insert_member
INSERT INTO project_members (project_id, user_id, role, service_ids, joined_at)
VALUES (:project_id, :user_id, :role, :service_ids::uuid[], :now)
ON CONFLICT (project_id, user_id) DO NOTHING;

-- name: lock_project
-- A statement of its own: whoever waited for the lock must see what the one before has changed.
SELECT project_id FROM projects WHERE project_id = :project_id FOR UPDATE;

-- name: find_project
-- As this member sees it; none that they aren't in.
SELECT {project_columns}
FROM projects p JOIN project_members m USING (project_id) JOIN users o ON o.user_id = p.owner_id
WHERE p.project_id = :project_id AND m.user_id = :user_id;

-- name: list_projects
-- order name: text lower(p.name COLLATE pg_c_utf8), uuid p.project_id
-- order created_at desc: timestamptz p.created_at, uuid p.project_id
SELECT {project_columns}, {key}
FROM projects p JOIN project_members m USING (project_id) JOIN users o ON o.user_id = p.owner_id
WHERE m.user_id = :user_id AND (:with_closed OR NOT p.is_closed) AND {after}
ORDER BY {order} LIMIT :limit;

-- name: update_project
UPDATE projects SET name = :name, description = :description WHERE project_id = :project_id;

-- name: close_project
UPDATE projects SET is_closed = true, closed_at = :now, offered_to_id = NULL WHERE project_id = :project_id;

-- name: offer_project
UPDATE projects SET offered_to_id = :offered_to_id WHERE project_id = :project_id;

-- name: set_owner
UPDATE projects SET owner_id = :owner_id, offered_to_id = NULL WHERE project_id = :project_id;

-- Members

-- name: list_members
SELECT m.user_id, u.name, u.email, m.role, m.service_ids, m.joined_at
FROM project_members m JOIN users u USING (user_id)
WHERE m.project_id = :project_id
ORDER BY m.role, lower(u.name COLLATE pg_c_utf8), m.user_id;

-- name: find_member
SELECT m.user_id, u.name, u.email, m.role, m.service_ids, m.joined_at
FROM project_members m JOIN users u USING (user_id)
WHERE m.project_id = :project_id AND m.user_id = :user_id;

-- name: update_member
UPDATE project_members SET role = :role, service_ids = :service_ids::uuid[]
WHERE project_id = :project_id AND user_id = :user_id;

-- name: delete_member
DELETE FROM project_members WHERE project_id = :project_id AND user_id = :user_id;

-- Invitations

-- name: count_sent
SELECT count(*)::integer FROM project_invitations WHERE invited_by = :user_id AND sent_at > :since;

-- name: count_open_invitations
SELECT count(*)::integer FROM project_invitations WHERE project_id = :project_id AND ended_at IS NULL;

-- name: is_member
SELECT EXISTS (
    SELECT 1 FROM project_members JOIN users USING (user_id) WHERE project_id = :project_id AND email = :email
);

-- name: insert_invitation
-- No row: the address has an open one.
INSERT INTO project_invitations
    (invitation_id, project_id, email, role, service_ids, code_hash, invited_by, created_at, sent_at, expires_at)
VALUES (:invitation_id, :project_id, :email, :role, :service_ids::uuid[], :code_hash, :invited_by, :now, :now,
        :expires_at)
ON CONFLICT (project_id, email) WHERE ended_at IS NULL DO NOTHING;

-- name: find_invite
SELECT {invite_columns} FROM project_invitations i JOIN users u ON u.user_id = i.invited_by
WHERE i.project_id = :project_id AND i.invitation_id = :invitation_id AND i.ended_at IS NULL;

-- name: list_invites
SELECT {invite_columns} FROM project_invitations i JOIN users u ON u.user_id = i.invited_by
WHERE i.project_id = :project_id AND i.ended_at IS NULL
ORDER BY i.created_at DESC, i.invitation_id DESC;

-- name: find_sending
SELECT times_sent, sent_at FROM project_invitations
WHERE project_id = :project_id AND invitation_id = :invitation_id AND ended_at IS NULL;

-- name: send_again
UPDATE project_invitations
SET code_hash = :code_hash, invited_by = :invited_by, sent_at = :now, expires_at = :expires_at,
    times_sent = times_sent + 1
WHERE invitation_id = :invitation_id;

-- name: end_invitation
UPDATE project_invitations SET ended_at = :now, outcome = :outcome
WHERE invitation_id = :invitation_id AND ended_at IS NULL;

-- name: revoke_invitations
-- All of a project, or those that one person has sent.
UPDATE project_invitations SET ended_at = :now, outcome = 'revoked'
WHERE project_id = :project_id AND ended_at IS NULL
  AND (:invited_by::uuid IS NULL OR invited_by = :invited_by);

-- name: list_received
SELECT i.invitation_id, i.project_id, p.name AS project_name, u.name AS invited_by_name, i.invited_by, i.role,
       i.service_ids, i.expires_at
FROM project_invitations i JOIN projects p USING (project_id) JOIN users u ON u.user_id = i.invited_by
JOIN users receiver ON receiver.email = i.email
WHERE receiver.user_id = :user_id AND i.ended_at IS NULL AND i.expires_at > :now
ORDER BY i.created_at DESC, i.invitation_id DESC LIMIT 50;

-- name: find_received
-- By its id or its code, for the person whose address it is for.
SELECT i.invitation_id, i.project_id, p.name AS project_name, u.name AS invited_by_name, i.invited_by, i.role,
       i.service_ids, i.expires_at
FROM project_invitations i JOIN projects p USING (project_id) JOIN users u ON u.user_id = i.invited_by
JOIN users receiver ON receiver.email = i.email
WHERE receiver.user_id = :user_id AND i.ended_at IS NULL AND i.expires_at > :now
  AND (i.invitation_id = :invitation_id OR i.code_hash = :code_hash);

-- For other services

-- name: lock_project_versions
-- As lock_standing_versions: who reads on after the last version that it has seen misses none.
SELECT pg_advisory_xact_lock(hashtextextended('project versions of ' || current_schema(), 0));

-- name: draw_project_version
-- As draw_standing_version: after a restore no version is drawn that followers have seen.
UPDATE projects
SET version = setval('project_versions', greatest(
    nextval('project_versions'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
))
WHERE project_id = :project_id;

-- fragment: changed_columns
p.project_id, p.name, p.owner_id, p.is_closed, p.version,
array_agg(m.user_id ORDER BY m.user_id) AS user_ids, array_agg(m.role ORDER BY m.user_id) AS roles,
array_agg(array_to_string(m.service_ids, ' ') ORDER BY m.user_id) AS service_ids

-- name: find_changed
SELECT {changed_columns} FROM projects p JOIN project_members m USING (project_id)
WHERE p.project_id = :project_id GROUP BY p.project_id;

-- name: list_project_changes
SELECT {changed_columns} FROM projects p JOIN project_members m USING (project_id)
WHERE p.project_id IN (
    SELECT project_id FROM projects WHERE version > :after_version AND version > 0 ORDER BY version LIMIT :limit
)
GROUP BY p.project_id ORDER BY p.version;
