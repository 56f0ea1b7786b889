-- fragment: letter
dead_letter_id, topic, partition, incarnation, message_offset, message_key, payload, error, status, created_at,
decided_at, reason

-- name: keep_dead_letter
INSERT INTO dead_letters (
    dead_letter_id, topic, partition, incarnation, message_offset, message_key, payload, error, release
) VALUES (
    :dead_letter_id, :topic, :partition, :incarnation, :message_offset, :message_key, :payload, :error, :release
);

-- name: list_dead_letters
-- order created_at desc: timestamptz created_at, uuid dead_letter_id
SELECT {letter}, {key} FROM dead_letters
WHERE status = :status AND {after}
ORDER BY {order} LIMIT :limit;

-- name: count_waiting
SELECT count(*) FROM dead_letters WHERE status = 'waiting';

-- name: lock_waiting
SELECT {letter} FROM dead_letters WHERE dead_letter_id = :dead_letter_id AND status = 'waiting' FOR UPDATE;

-- name: next_of_other_release
-- The oldest that this release hasn't tried yet.
SELECT {letter} FROM dead_letters
WHERE status = 'waiting' AND topic = :topic AND release <> :release
ORDER BY created_at, dead_letter_id LIMIT 1;

-- name: decide
UPDATE dead_letters SET status = :status, decided_at = now(), reason = :reason
WHERE dead_letter_id = :dead_letter_id
RETURNING {letter};

-- name: note_failure
UPDATE dead_letters SET error = :error, release = :release WHERE dead_letter_id = :dead_letter_id;
