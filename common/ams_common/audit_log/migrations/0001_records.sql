-- The audit log. This schema belongs to a role that nobody signs in as: the service that writes the log adds and
-- reads records, and has no right to change or delete one.

CREATE TABLE records (
    -- 1, 2, 3, … without a gap, in the order in which they were stored.
    position bigint PRIMARY KEY,
    audit_id uuid NOT NULL UNIQUE,
    occurred_at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    resource text NOT NULL,
    resource_id text NOT NULL,
    details jsonb NOT NULL,
    request_id text NOT NULL,
    credential text NOT NULL,
    client_address text NOT NULL,
    -- [{"field": …, "before": …, "after": …}, …]
    changes jsonb NOT NULL,
    stored_at timestamptz NOT NULL,
    -- Over the record's canonical bytes and the hash of the record before it.
    record_hash bytea NOT NULL CHECK (length(record_hash) = 32)
);
CREATE INDEX records_by_time ON records (occurred_at DESC, audit_id DESC);
CREATE INDEX records_by_actor ON records (actor, occurred_at DESC, audit_id DESC);
CREATE INDEX records_by_action ON records (action, occurred_at DESC, audit_id DESC);
CREATE INDEX records_by_kind ON records (resource, occurred_at DESC, audit_id DESC);
CREATE INDEX records_by_resource ON records (resource_id, occurred_at DESC, audit_id DESC);
CREATE INDEX records_by_credential ON records (credential, occurred_at DESC, audit_id DESC);

-- The newest record. Without it nobody would miss records that are cut off at the end.
CREATE TABLE head (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    position bigint NOT NULL,
    record_hash bytea NOT NULL,
    stored_at timestamptz NOT NULL
);
INSERT INTO head (position, record_hash, stored_at) VALUES (0, decode(repeat('00', 32), 'hex'), '-infinity');

-- What retention has deleted: all records up to a position, whose hash the next one goes on from.
CREATE TABLE purges (
    position bigint PRIMARY KEY,
    record_hash bytea NOT NULL,
    purged_at timestamptz NOT NULL DEFAULT now()
);

-- A text with its length in front: no two lists of texts have the same bytes.
CREATE FUNCTION text_bytes(value text) RETURNS bytea LANGUAGE sql STABLE STRICT
RETURN int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8');

CREATE FUNCTION time_bytes(value timestamptz) RETURNS bytea LANGUAGE sql STABLE STRICT
RETURN int8send((extract(epoch FROM value) * 1000000)::bigint);

-- A record's canonical bytes. identity-svc computes the same for itself when it verifies the log.
CREATE FUNCTION canonical(record records) RETURNS bytea LANGUAGE sql STABLE
RETURN text_bytes(record.audit_id::text) || time_bytes(record.occurred_at) || text_bytes(record.actor)
    || text_bytes(record.action) || text_bytes(record.resource) || text_bytes(record.resource_id)
    || text_bytes(record.request_id) || text_bytes(record.credential) || text_bytes(record.client_address)
    || (
        SELECT int4send(count(*)::integer)
            || coalesce(string_agg(text_bytes(key) || text_bytes(value), ''::bytea ORDER BY key COLLATE "C"), '')
        FROM jsonb_each_text(record.details)
    )
    || (
        SELECT int4send(count(*)::integer) || coalesce(string_agg(
            text_bytes(change ->> 'field') || text_bytes(change ->> 'before') || text_bytes(change ->> 'after'),
            ''::bytea ORDER BY number
        ), '')
        FROM jsonb_array_elements(record.changes) WITH ORDINALITY AS listed (change, number)
    )
    || time_bytes(record.stored_at);

CREATE FUNCTION chain_record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = audit, pg_temp AS $$
DECLARE
    newest head;
    previous records;
BEGIN
    -- One writer at a time, until its commit.
    SELECT * INTO newest FROM head FOR UPDATE;
    -- Kafka brings a record again; here, and not by ON CONFLICT, or it would take a position all the same.
    IF EXISTS (SELECT FROM records WHERE audit_id = NEW.audit_id) THEN
        RETURN NULL;
    END IF;
    -- One of this very statement, of which head doesn't know yet.
    SELECT * INTO previous FROM records WHERE position > newest.position ORDER BY position DESC LIMIT 1;
    IF FOUND THEN
        newest := (true, previous.position, previous.record_hash, previous.stored_at);
    END IF;
    NEW.position := newest.position + 1;
    -- Retention cuts by it: it never goes back, whatever the clock does.
    NEW.stored_at := greatest(clock_timestamp(), newest.stored_at);
    NEW.record_hash := sha256(newest.record_hash || int8send(NEW.position) || canonical(NEW));
    RETURN NEW;
END
$$;
CREATE TRIGGER chain_record BEFORE INSERT ON records FOR EACH ROW EXECUTE FUNCTION chain_record();

-- Once a statement: a row that changes with each record of a long one would be found ever more slowly.
CREATE FUNCTION move_head() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = audit, pg_temp AS $$
BEGIN
    UPDATE head SET position = newest.position, record_hash = newest.record_hash, stored_at = newest.stored_at
    FROM (SELECT * FROM records ORDER BY position DESC LIMIT 1) AS newest
    WHERE newest.position > head.position;
    RETURN NULL;
END
$$;
CREATE TRIGGER move_head AFTER INSERT ON records FOR EACH STATEMENT EXECUTE FUNCTION move_head();

-- Deletes the oldest records that were stored before a time, `most` at once, and returns how many. Whoever calls
-- it chooses how long more than half a year they are kept, and nobody can have them deleted sooner.
CREATE FUNCTION purge_records(stored_before timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = audit, pg_temp AS $$
DECLARE
    last_one records;
    deleted bigint;
BEGIN
    IF stored_before > now() - interval '180 days' THEN
        RAISE EXCEPTION 'audit records are kept for at least 180 days' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM FROM head FOR UPDATE;
    SELECT * INTO last_one FROM (SELECT * FROM records ORDER BY position LIMIT most) AS oldest
    WHERE stored_at < stored_before ORDER BY position DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM records WHERE position <= last_one.position;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    INSERT INTO purges (position, record_hash) VALUES (last_one.position, last_one.record_hash);
    RETURN deleted;
END
$$;
