-- Events that gateways have numbered, in parts, over WebSockets and with test keys. NULL: an older gateway's, or
-- an event of no gateway. No default needs the rows that are there to be written again.
ALTER TABLE usage_events
    ADD COLUMN journal_id uuid,
    ADD COLUMN sequence bigint,
    -- Of a call that another event has counted: its bytes and messages count, it doesn't.
    ADD COLUMN is_continuation boolean NOT NULL DEFAULT false,
    ADD COLUMN request_messages bigint NOT NULL DEFAULT 0,
    ADD COLUMN response_messages bigint NOT NULL DEFAULT 0,
    -- NULL: the event's own id.
    ADD COLUMN request_id text,
    ADD COLUMN is_test boolean NOT NULL DEFAULT false;

-- NOT VALID: the rows that are there hold the defaults, and reading them all would keep events waiting.
ALTER TABLE usage_events
    ADD CONSTRAINT usage_events_numbered
        CHECK (sequence >= 1 AND journal_id IS NOT NULL OR sequence IS NULL AND journal_id IS NULL) NOT VALID,
    ADD CONSTRAINT usage_events_messages CHECK (request_messages >= 0 AND response_messages >= 0) NOT VALID,
    ADD CONSTRAINT usage_events_request_id CHECK (request_id ~ '^[!-~]{1,128}$') NOT VALID,
    ADD CONSTRAINT usage_events_unbilled CHECK (NOT (billable AND (is_continuation OR is_test))) NOT VALID;

-- A bucket in which a call only went on holds its bytes and no request.
ALTER TABLE usage_rollups
    DROP CONSTRAINT usage_rollups_requests_check,
    ADD CONSTRAINT usage_rollups_requests_check CHECK (requests >= 0);

-- How many of a journal's events were counted, moved in the transaction that inserts them. Their numbers are 1, 2,
-- 3, … without a gap, so what is missing is known. Counted in blocks of 2^20 numbers: a block to which nothing is
-- added any more can be checked while its gateway goes on. And in shards, one for each of the connections that
-- count: a journal's events are in all partitions, and with one row those who read them would wait for each other.
CREATE TABLE journal_counts (
    journal_id uuid NOT NULL,
    block bigint NOT NULL CHECK (block >= 0),
    shard smallint NOT NULL,
    highest_sequence bigint NOT NULL CHECK ((highest_sequence - 1) >> 20 = block),
    events bigint NOT NULL CHECK (events BETWEEN 1 AND 1 << 20),
    counted_at timestamptz NOT NULL,
    PRIMARY KEY (journal_id, block, shard)
) WITH (fillfactor = 50);  -- few rows that change all the time: room for HOT updates

-- For operators: "every answered request is counted once" holds where nothing is missing. What a gateway has just
-- written, and is on its way, is missing too.
CREATE VIEW journals AS
SELECT
    journal_id, max(highest_sequence) AS highest_sequence, sum(events)::bigint AS events,
    (max(highest_sequence) - sum(events))::bigint AS missing, max(counted_at) AS counted_at
FROM journal_counts
GROUP BY journal_id;
