-- The archive of raw events: a file for each UTC day, and another one for what came of it after it had been dropped.
-- `dropped_at` NULL: the events are in their partition still.
CREATE TABLE archived_days (
    day date NOT NULL,
    part integer NOT NULL CHECK (part >= 0),
    file_name text NOT NULL,
    rows bigint NOT NULL CHECK (rows >= 0),
    size_bytes bigint NOT NULL,
    exported_at timestamptz NOT NULL,
    dropped_at timestamptz,
    PRIMARY KEY (day, part)
);
