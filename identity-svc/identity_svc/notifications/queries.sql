-- name: list_admin_ids
SELECT user_id FROM user_roles WHERE role = 'admin';

-- name: list_recipients
-- Of the people, those that there are, with what they have chosen for the category.
SELECT u.user_id, u.email, c.by_mail, c.in_app
FROM users u LEFT JOIN notification_choices c ON c.user_id = u.user_id AND c.category = :category
WHERE u.user_id = ANY (:user_ids::uuid[]);

-- name: insert_notification
INSERT INTO user_notifications
    (user_id, notification_id, kind, category, title, text, path, occurred_at, created_at)
VALUES (:user_id, :notification_id, :kind, :category, :title, :text, :path, :occurred_at, :now)
-- The list keeps longer than ids are remembered.
ON CONFLICT (user_id, notification_id) DO NOTHING;

-- name: list_notifications
-- order created_at desc: timestamptz created_at, uuid notification_id
SELECT notification_id, kind, category, title, text, path, occurred_at, created_at, read_at, {key}
FROM user_notifications
WHERE user_id = :user_id AND (:category::smallint IS NULL OR category = :category) AND {after}
ORDER BY {order} LIMIT :limit;

-- name: list_unread
-- order created_at desc: timestamptz created_at, uuid notification_id
SELECT notification_id, kind, category, title, text, path, occurred_at, created_at, read_at, {key}
FROM user_notifications
WHERE user_id = :user_id AND read_at IS NULL AND (:category::smallint IS NULL OR category = :category) AND {after}
ORDER BY {order} LIMIT :limit;

-- name: count_unread
-- As far as anybody wants to know.
SELECT count(*) FROM (
    SELECT FROM user_notifications WHERE user_id = :user_id AND read_at IS NULL LIMIT :most
) AS unread;

-- name: mark_read
-- In one order, as mark_all_read.
UPDATE user_notifications SET read_at = :now WHERE (user_id, notification_id) IN (
    SELECT user_id, notification_id FROM user_notifications
    WHERE user_id = :user_id AND notification_id = ANY (:notification_ids::uuid[]) AND read_at IS NULL
    ORDER BY notification_id FOR NO KEY UPDATE
);

-- name: mark_all_read
UPDATE user_notifications SET read_at = :now WHERE (user_id, notification_id) IN (
    SELECT user_id, notification_id FROM user_notifications
    WHERE user_id = :user_id AND created_at <= :until AND read_at IS NULL
    ORDER BY notification_id FOR NO KEY UPDATE
);

-- name: list_choices
SELECT category, by_mail, in_app FROM notification_choices WHERE user_id = :user_id;

-- name: lock_choices
-- Of two who choose at once the second sees what the first has chosen, also where nothing was before.
SELECT pg_advisory_xact_lock(hashtextextended('notification choices of ' || :user_id::uuid::text, 0));

-- name: save_choice
INSERT INTO notification_choices (user_id, category, by_mail, in_app, chosen_at)
VALUES (:user_id, :category, :by_mail, :in_app, :now)
ON CONFLICT (user_id, category) DO UPDATE
SET by_mail = excluded.by_mail, in_app = excluded.in_app, chosen_at = excluded.chosen_at;
