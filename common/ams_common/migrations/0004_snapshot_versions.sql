-- Of two snapshots under one Redis key the one with the higher version is in force. 0: a message for Kafka,
-- or a snapshot of before snapshots had versions.
ALTER TABLE outbox ADD COLUMN snapshot_version bigint NOT NULL DEFAULT 0;

-- Whether a snapshot still waits is asked for by its Redis key.
CREATE INDEX outbox_by_snapshot ON outbox (topic) WHERE destination = 'redis';

-- Up to which version this service has followed what another one lists (ListStandingChanges); moved in the
-- transaction of the effects.
CREATE TABLE followed_versions (
    source text PRIMARY KEY,
    version bigint NOT NULL CHECK (version >= 0)
);
