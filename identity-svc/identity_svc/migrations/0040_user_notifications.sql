-- What people find in the list of their account. Written out when it is told: what it says doesn't change when a later
-- release words it otherwise, and reading a list makes nothing.
CREATE TABLE user_notifications (
    user_id uuid NOT NULL REFERENCES users,
    notification_id uuid NOT NULL,
    kind text NOT NULL,
    category smallint NOT NULL CHECK (category > 0),
    title text NOT NULL,
    text text NOT NULL,
    path text NOT NULL CHECK (path ~ '^/([^/]|$)'),
    occurred_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    read_at timestamptz,
    PRIMARY KEY (user_id, notification_id)
);
CREATE INDEX user_notifications_by_time ON user_notifications (user_id, created_at DESC, notification_id DESC);
CREATE INDEX user_notifications_unread ON user_notifications (user_id, created_at DESC, notification_id DESC)
    WHERE read_at IS NULL;
CREATE INDEX user_notifications_by_reading ON user_notifications (read_at) WHERE read_at IS NOT NULL;
CREATE INDEX user_notifications_by_age ON user_notifications (created_at);

-- By which ways somebody wants a category; none: as the catalogue has it.
CREATE TABLE notification_choices (
    user_id uuid NOT NULL REFERENCES users,
    category smallint NOT NULL CHECK (category > 0),
    by_mail boolean NOT NULL,
    in_app boolean NOT NULL,
    chosen_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, category)
);
