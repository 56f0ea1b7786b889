-- name: list_open_merchants
-- Whose events of a day aren't all in trees.
SELECT merchant_id
FROM (
    SELECT merchant_id, sum(events) AS events FROM day_totals JOIN series USING (series_id)
    WHERE day = :day GROUP BY merchant_id
) AS recorded
LEFT JOIN (
    SELECT merchant_id, sum(events) AS events FROM day_roots WHERE day = :day GROUP BY merchant_id
) AS proven USING (merchant_id)
WHERE recorded.events > coalesce(proven.events, 0)
ORDER BY merchant_id;

-- name: lock_day
-- False when another process is closing the merchant's day; locked until the transaction ends.
SELECT pg_try_advisory_xact_lock(hashtextextended('day of ' || :merchant_id::uuid || :day::date, 0));

-- name: next_edition
SELECT coalesce(max(edition), 0) + 1 FROM day_roots WHERE merchant_id = :merchant_id AND day = :day;

-- name: has_partition
SELECT to_regclass(:partition) IS NOT NULL;

-- name: list_series_of_merchant
SELECT series_id, consumer_id, merchant_id, service_id, api_key_id FROM series WHERE merchant_id = :merchant_id;

-- name: list_series_of_pair
SELECT series_id, consumer_id, merchant_id, service_id, api_key_id FROM series
WHERE merchant_id = :merchant_id AND consumer_id = :consumer_id
    AND (:service_id::uuid IS NULL OR service_id = :service_id);

-- name: list_open_series
-- Of these the ones whose events aren't all in trees, and the days.
SELECT recorded.series_id, recorded.day
FROM (
    SELECT series_id, day, sum(events) AS events FROM day_totals
    WHERE series_id = ANY(:series_ids::bigint[]) AND day BETWEEN :first_day AND :last_day
    GROUP BY series_id, day
) AS recorded
LEFT JOIN (
    SELECT series_id, day, sum(events) AS events FROM tree_leaves
    WHERE series_id = ANY(:series_ids::bigint[]) AND day BETWEEN :first_day AND :last_day
    GROUP BY series_id, day
) AS proven USING (series_id, day)
WHERE recorded.events > coalesce(proven.events, 0);

-- name: add_blocks
INSERT INTO tree_blocks (merchant_id, day, edition, block, node, hashes)
SELECT :merchant_id::uuid, :day::date, :edition::integer, *
FROM unnest(:blocks::integer[], :nodes::bytea[], :hashes::bytea[]);

-- name: add_leaves
INSERT INTO tree_leaves (series_id, day, edition, first_event_id, last_event_id, events, event_ids, indexes)
VALUES (
    :series_id, :day, :edition, :first_event_id, :last_event_id, cardinality(:event_ids::uuid[]), :event_ids,
    :indexes::bigint[]
);

-- name: add_root
INSERT INTO day_roots (merchant_id, day, edition, events, root, published_at)
VALUES (:merchant_id, :day, :edition, :events, :root, :published_at);

-- name: list_roots
SELECT merchant_id, day, edition, events, root, published_at FROM day_roots
WHERE merchant_id = :merchant_id AND day BETWEEN :first_day AND :last_day
ORDER BY day, edition;

-- name: list_runs
-- The rows of tree_leaves that have an event after one, in order.
SELECT series_id, day, edition, first_event_id, events FROM tree_leaves
WHERE series_id = ANY(:series_ids::bigint[]) AND day BETWEEN :first_day AND :last_day AND last_event_id > :after
ORDER BY first_event_id, series_id, day, edition;

-- name: list_archived_files
-- What a day's raw events were written to before they were dropped.
SELECT file_name FROM archived_days WHERE day = :day AND dropped_at IS NOT NULL ORDER BY part;

-- name: has_purged_tree
-- Whether a tree of these days is kept no longer, but for its root.
SELECT EXISTS (
    SELECT FROM day_roots AS root
    WHERE merchant_id = :merchant_id AND day BETWEEN :first_day AND :last_day AND NOT EXISTS (
        SELECT FROM tree_blocks AS block
        WHERE block.merchant_id = root.merchant_id AND block.day = root.day AND block.edition = root.edition
    )
);

-- name: list_places
-- The events after one in some rows of tree_leaves, and where each stands.
SELECT run.day, run.edition, place.event_id, place.index
FROM unnest(:series_ids::bigint[], :days::date[], :editions::integer[], :first_event_ids::uuid[])
    AS wanted (series_id, day, edition, first_event_id)
JOIN tree_leaves AS run USING (series_id, day, edition, first_event_id)
CROSS JOIN LATERAL unnest(run.event_ids, run.indexes) AS place (event_id, index)
WHERE place.event_id > :after;

-- name: list_nodes
-- The nodes above a tree's blocks, in order.
SELECT node FROM tree_blocks
WHERE merchant_id = :merchant_id AND day = :day AND edition = :edition
ORDER BY block;

-- name: list_hashes
SELECT block, hashes FROM tree_blocks
WHERE merchant_id = :merchant_id AND day = :day AND edition = :edition AND block = ANY(:blocks::integer[]);

-- fragment: consumer_days
-- What was forwarded and recorded by day, merchant and consumer: of some merchants or all, of one consumer or all.
-- `waiting` comes with the question, for only who reads the messages knows whose events they hold.
WITH forwarded AS (
    SELECT day, merchant_id, consumer_id, sum(events)::bigint AS forwarded_events FROM forwarded_totals
    WHERE day BETWEEN :first_day AND :last_day
        AND (:merchant_ids::uuid[] IS NULL OR merchant_id = ANY(:merchant_ids))
        AND (:consumer_id::uuid IS NULL OR consumer_id = :consumer_id)
    GROUP BY day, merchant_id, consumer_id
), recorded AS (
    SELECT day, merchant_id, consumer_id, sum(events)::bigint AS recorded_events,
        coalesce(sum(requests) FILTER (WHERE NOT is_test), 0)::bigint AS requests,
        coalesce(sum(request_bytes) FILTER (WHERE NOT is_test), 0)::bigint AS request_bytes,
        coalesce(sum(response_bytes) FILTER (WHERE NOT is_test), 0)::bigint AS response_bytes,
        coalesce(sum(events) FILTER (WHERE is_test), 0)::bigint AS test_events,
        coalesce(sum(request_bytes) FILTER (WHERE is_test), 0)::bigint AS test_request_bytes,
        coalesce(sum(response_bytes) FILTER (WHERE is_test), 0)::bigint AS test_response_bytes
    FROM day_totals JOIN series USING (series_id)
    WHERE day BETWEEN :first_day AND :last_day
        AND (:merchant_ids::uuid[] IS NULL OR merchant_id = ANY(:merchant_ids))
        AND (:consumer_id::uuid IS NULL OR consumer_id = :consumer_id)
    GROUP BY day, merchant_id, consumer_id
), waiting AS (
    SELECT * FROM unnest(
        :waiting_days::date[], :waiting_merchant_ids::uuid[], :waiting_consumer_ids::uuid[], :waiting_events::bigint[]
    ) AS waiting (day, merchant_id, consumer_id, dead_letters)
), consumer_days AS (
    SELECT day, merchant_id, consumer_id, coalesce(forwarded_events, 0) AS forwarded_events,
        coalesce(recorded_events, 0) AS recorded_events, coalesce(requests, 0) AS requests,
        coalesce(request_bytes, 0) AS request_bytes, coalesce(response_bytes, 0) AS response_bytes,
        coalesce(test_events, 0) AS test_events, coalesce(test_request_bytes, 0) AS test_request_bytes,
        coalesce(test_response_bytes, 0) AS test_response_bytes, coalesce(dead_letters, 0) AS dead_letters,
        -- What waits as a dead letter is missing, unless its gateway hasn't told of it yet.
        greatest(
            coalesce(forwarded_events, 0) - coalesce(recorded_events, 0) - coalesce(dead_letters, 0), 0
        ) AS unrecorded_events,
        greatest(coalesce(recorded_events, 0) - coalesce(forwarded_events, 0), 0) AS untold_events
    FROM forwarded
        FULL JOIN recorded USING (day, merchant_id, consumer_id)
        FULL JOIN waiting USING (day, merchant_id, consumer_id)
)

-- name: list_day_totals
{consumer_days}
SELECT day, merchant_id, sum(forwarded_events)::bigint AS forwarded_events,
    sum(recorded_events)::bigint AS recorded_events, sum(requests)::bigint AS requests,
    sum(request_bytes)::bigint AS request_bytes, sum(response_bytes)::bigint AS response_bytes,
    sum(test_events)::bigint AS test_events, sum(test_request_bytes)::bigint AS test_request_bytes,
    sum(test_response_bytes)::bigint AS test_response_bytes, sum(dead_letters)::bigint AS dead_letters,
    sum(unrecorded_events)::bigint AS unrecorded_events, sum(untold_events)::bigint AS untold_events,
    coalesce(
        sum(hashtextextended(concat_ws(' ', consumer_id, requests, request_bytes, response_bytes), 0))
            FILTER (WHERE requests <> 0 OR request_bytes <> 0 OR response_bytes <> 0), 0
    )::text AS digest
FROM consumer_days
GROUP BY day, merchant_id
ORDER BY day, merchant_id
LIMIT :limit::bigint;

-- name: list_consumer_day_totals
-- order merchant_id: uuid merchant_id, uuid consumer_id
{consumer_days}
SELECT *, {key} FROM consumer_days WHERE {after} ORDER BY {order} LIMIT :limit;

-- name: list_waiting_payloads
-- Messages of gateways that wait for somebody's decision, the oldest first.
SELECT payload FROM dead_letters
WHERE status = 'waiting' AND topic LIKE '%usage.events' AND payload IS NOT NULL
ORDER BY created_at, dead_letter_id
LIMIT :limit::bigint;
