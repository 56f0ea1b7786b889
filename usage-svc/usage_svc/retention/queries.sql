-- name: try_turn
-- Held by the connection: one process at a time works on what is old.
SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '.retention', 0));

-- name: end_turn
SELECT pg_advisory_unlock(hashtextextended(current_schema() || '.retention', 0));

-- name: partitions
SELECT child.relname::text
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = to_regclass(:parent::text) ORDER BY 1;

-- name: wait_briefly
-- Who waits for a lock on a table keeps all others from it who come later: rather give up, and try again.
SELECT set_config('lock_timeout', '500ms', true);

-- name: find_open_export
-- The file of a day whose events are in their partition still.
SELECT day, part, file_name, rows, size_bytes FROM archived_days WHERE day = :day AND dropped_at IS NULL;

-- name: next_part
SELECT coalesce(max(part) + 1, 0) FROM archived_days WHERE day = :day AND dropped_at IS NOT NULL;

-- name: set_export
INSERT INTO archived_days (day, part, file_name, rows, size_bytes, exported_at)
VALUES (:day, :part, :file_name, :rows, :size_bytes, :exported_at)
ON CONFLICT (day, part) DO UPDATE SET
    file_name = excluded.file_name, rows = excluded.rows, size_bytes = excluded.size_bytes,
    exported_at = excluded.exported_at
WHERE archived_days.dropped_at IS NULL;

-- name: set_dropped
UPDATE archived_days SET dropped_at = :dropped_at WHERE day = :day AND part = :part;

-- name: oldest_tree_day
SELECT min(day) FROM tree_blocks;

-- name: purge_tree_leaves
DELETE FROM tree_leaves WHERE day = :day;

-- name: purge_tree_blocks
DELETE FROM tree_blocks WHERE day = :day;

-- name: purge_journals
-- Of gateways' journals that nothing has been heard of for long; a journal goes as a whole.
DELETE FROM journal_counts WHERE journal_id IN (
    SELECT journal_id FROM journal_counts GROUP BY 1 HAVING max(counted_at) < :before LIMIT :limit
);
