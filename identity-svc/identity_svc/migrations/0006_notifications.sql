-- Which notifications of the other services have become mails: each is told once, however often its message
-- is read. Kept longer than the topic keeps messages.
CREATE TABLE notifications (
    notification_id uuid PRIMARY KEY,
    told_at timestamptz NOT NULL
);
CREATE INDEX notifications_by_age ON notifications (told_at);
