-- The version of the standing that is kept (identity-svc's): a lower one is of the past, whichever way it
-- comes. 0: heard of before there were versions, or nothing heard yet.
ALTER TABLE consumers ADD COLUMN standing_version bigint NOT NULL DEFAULT 0;

-- Grows with each change of what the key's snapshot says. From 1: a gateway that holds nothing asks with 0.
ALTER TABLE keys ADD COLUMN snapshot_version bigint NOT NULL DEFAULT 1 CHECK (snapshot_version > 0);
