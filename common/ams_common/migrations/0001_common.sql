-- What every service's schema holds besides its own tables: applied before the service's migrations.

-- Events and snapshots on their way out, written in the transaction of the change they tell of.
CREATE TABLE outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination text NOT NULL CHECK (destination IN ('kafka', 'redis')),
    topic text NOT NULL,          -- kafka: the topic; redis: the key
    message_key bytea NOT NULL,   -- kafka: what keeps messages of one subject in order
    payload bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_by_destination ON outbox (destination, outbox_id);

-- Where this service's consumers go on reading; moved in the transaction of the effects.
CREATE TABLE consumer_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (topic, partition)
);

-- Messages that could not be processed; they don't stop their partition.
CREATE TABLE dead_letters (
    topic text NOT NULL,
    partition integer NOT NULL,
    message_offset bigint NOT NULL,
    message_key bytea,
    payload bytea,
    error text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, message_offset)
);

-- Answers to requests that carried an idempotency key.
CREATE TABLE idempotent_answers (
    actor text NOT NULL,
    method text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    answer bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (actor, method, idempotency_key)
);
