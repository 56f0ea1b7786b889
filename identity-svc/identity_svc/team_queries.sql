-- fragment: admin_columns
u.user_id, u.email, u.name, r.granted_at, u.picture_id

-- name: list_admins
-- order joined_at: timestamptz r.granted_at, uuid r.user_id
SELECT {admin_columns}, {key}
FROM user_roles r JOIN users u USING (user_id)
WHERE r.role = 'admin' AND {after}
ORDER BY {order} LIMIT :limit;

-- name: find_admin
SELECT {admin_columns} FROM user_roles r JOIN users u USING (user_id) WHERE r.role = 'admin' AND u.user_id = :user_id;

-- name: lock_admins
-- All of them, in one order: of two who dismiss each other the second sees what the first has done.
SELECT user_id FROM user_roles WHERE role = 'admin' ORDER BY user_id FOR UPDATE;

-- name: take_admin_role
DELETE FROM user_roles WHERE user_id = :user_id AND role = 'admin';

-- name: remember_dismissal
INSERT INTO dismissed_admins (user_id, dismissed_at) VALUES (:user_id, :now)
ON CONFLICT (user_id) DO UPDATE SET dismissed_at = excluded.dismissed_at;

-- name: forget_dismissal
DELETE FROM dismissed_admins WHERE user_id = :user_id;

-- name: was_dismissed
SELECT EXISTS (SELECT 1 FROM dismissed_admins JOIN users USING (user_id) WHERE email = :email);
