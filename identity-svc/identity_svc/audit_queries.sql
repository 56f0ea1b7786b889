-- fragment: record_columns
audit_id, occurred_at, actor, action, resource, resource_id, details, request_id, credential, client_address, changes

-- name: insert_records
-- In their order. One that is there already is left out: the table's triggers see to it, and to the chain.
INSERT INTO audit.records ({record_columns})
SELECT {record_columns}
FROM ROWS FROM (jsonb_to_recordset(:records) AS (
    audit_id uuid, occurred_at timestamptz, actor text, action text, resource text, resource_id text, details jsonb,
    request_id text, credential text, client_address text, changes jsonb
)) WITH ORDINALITY
ORDER BY ordinality;

-- name: list_records
-- order occurred_at desc: timestamptz occurred_at, uuid audit_id
SELECT {record_columns}, {key}
FROM audit.records
WHERE (:actors::text[] IS NULL OR actor = ANY (:actors))
  AND (:action::text IS NULL OR action = :action)
  AND (:resource::text IS NULL OR resource = :resource)
  AND (:resource_id::text IS NULL OR resource_id = :resource_id)
  AND (:credential::text IS NULL OR credential = :credential)
  AND (:since::timestamptz IS NULL OR occurred_at >= :since)
  AND (:before::timestamptz IS NULL OR occurred_at < :before)
  AND {after}
ORDER BY {order} LIMIT :limit;

-- name: find_people
-- By words of their names and addresses.
-- Through the index first, whatever the order: the planner would walk along it, to the end for who isn't there.
WITH found AS MATERIALIZED (
    SELECT user_id FROM users
    WHERE pieces(lower((email || ' ' || name) COLLATE pg_c_utf8)) @> pieces_of_words(:words::text[])
        AND (email || ' ' || name) COLLATE pg_c_utf8 ILIKE ALL (:patterns::text[])
    LIMIT :limit
)
SELECT user_id::text FROM found ORDER BY user_id;

-- name: find_head
SELECT position, record_hash FROM audit.head;

-- name: find_beginning
-- Where retention has cut the log off; no row: it begins with its first record.
SELECT position, record_hash FROM audit.purges ORDER BY position DESC LIMIT 1;

-- name: read_chain
SELECT position, {record_columns}, stored_at, record_hash FROM audit.records
WHERE position > :after ORDER BY position LIMIT :limit;

-- name: purge_records
SELECT audit.purge_records(:stored_before, :most);
