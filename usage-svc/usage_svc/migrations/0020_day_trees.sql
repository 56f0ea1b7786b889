-- A hash for each merchant, UTC day and edition that stands for all of its events (docs/proofs.md). Whoever kept it
-- notices a change, so rows are added, never changed.
CREATE TABLE day_roots (
    merchant_id uuid NOT NULL,
    day date NOT NULL,
    edition integer NOT NULL CHECK (edition >= 1),
    events bigint NOT NULL CHECK (events >= 1),
    root bytea NOT NULL CHECK (length(root) = 32),
    published_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, day, edition)
);
CREATE INDEX day_roots_by_day ON day_roots (day, merchant_id) INCLUDE (events);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only grows', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER day_roots_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON day_roots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The leaves' hashes as they were when the tree was built, 256 in a row and in order, and the node above them. An event
-- that is changed afterwards no longer has its hash, and all others' paths still lead to the root.
CREATE TABLE tree_blocks (
    merchant_id uuid NOT NULL,
    day date NOT NULL,
    edition integer NOT NULL,
    block integer NOT NULL CHECK (block >= 0),
    node bytea NOT NULL CHECK (length(node) = 32),
    hashes bytea NOT NULL CHECK (length(hashes) BETWEEN 32 AND 32 * 256 AND length(hashes) % 32 = 0),
    PRIMARY KEY (merchant_id, day, edition, block)
);
-- Hashes can't be compressed: trying takes time.
ALTER TABLE tree_blocks ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Where the events of a series stand in which tree: some of them in a row, in the order of their ids.
CREATE TABLE tree_leaves (
    series_id bigint NOT NULL,
    day date NOT NULL,
    edition integer NOT NULL,
    first_event_id uuid NOT NULL,
    last_event_id uuid NOT NULL CHECK (last_event_id >= first_event_id),
    events integer NOT NULL CHECK (events = cardinality(event_ids) AND events >= 1),
    event_ids uuid[] NOT NULL,
    indexes bigint[] NOT NULL CHECK (cardinality(indexes) = events),
    PRIMARY KEY (series_id, day, edition, first_event_id)
);
