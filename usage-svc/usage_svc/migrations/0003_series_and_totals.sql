-- Usage by series: whoever calls what with which key is written once, and events, rollups and totals name it by a
-- number. What came before is read again from the topic, which keeps sixty days.
DROP TABLE usage_events, usage_rollups;
DROP FUNCTION ensure_usage_partitions(date[]);
TRUNCATE journal_counts;
DELETE FROM consumer_offsets WHERE topic LIKE '%usage.events';

-- Whose calls, of which service, with which key. The id is a digest of the five ids, so it is the same after a
-- database has been restored. Rows are never changed.
CREATE TABLE series (
    series_id bigint PRIMARY KEY,
    consumer_id uuid NOT NULL,
    merchant_id uuid NOT NULL,
    service_id uuid NOT NULL,
    api_key_id uuid NOT NULL,
    project_id uuid,
    key_prefix text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (consumer_id, merchant_id, service_id, api_key_id, project_id)
);
CREATE INDEX series_by_merchant ON series (merchant_id, service_id);
CREATE INDEX series_by_service ON series (service_id);
CREATE INDEX series_by_key ON series (api_key_id);

-- Where events come from: an incarnation of the topic and a partition ("<incarnation>/<partition>").
CREATE TABLE sources (
    source_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

-- Every request that the gateway forwarded (PRD FR2-MERCH-03 "Data Stored Per Request"), one partition per UTC day,
-- usage_events_<YYYYMMDD>. An event carries its own time, so (event_id, occurred_at) finds a duplicate.
CREATE TABLE usage_events (
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    series_id bigint NOT NULL,
    source_id integer NOT NULL,
    source_offset bigint NOT NULL CHECK (source_offset >= 0),
    -- What the gateway's snapshot said; billing decides by itself.
    price_version_id uuid NOT NULL,
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    request_messages bigint NOT NULL CHECK (request_messages >= 0),
    response_messages bigint NOT NULL CHECK (response_messages >= 0),
    response_time_ms integer NOT NULL CHECK (response_time_ms >= 0),
    status_code smallint NOT NULL CHECK (status_code BETWEEN 100 AND 599),
    -- The numbers of ams.usage.v1.Outcome and ChargeClass.
    outcome smallint NOT NULL CHECK (outcome BETWEEN 1 AND 5),
    charge_class smallint NOT NULL CHECK (charge_class BETWEEN 1 AND 4),
    -- Of a call that another event has counted: its bytes and messages count, it doesn't.
    is_continuation boolean NOT NULL,
    is_test boolean NOT NULL,
    -- NULL: what no gateway has numbered.
    journal_id uuid,
    sequence bigint,
    -- NULL: the event's own id.
    request_id text,
    PRIMARY KEY (event_id, occurred_at)
) PARTITION BY RANGE (occurred_at);

-- The log of a day: of one consumer or merchant through its series, or newest first until enough of them are found.
CREATE INDEX usage_events_by_series ON usage_events (series_id, occurred_at);
CREATE INDEX usage_events_by_time ON usage_events (occurred_at);
CREATE INDEX usage_events_by_request ON usage_events (request_id) WHERE request_id IS NOT NULL;

-- Sums of usage_events, moved in the transaction that inserts them. Calls and their times are counted with the first
-- event of a call; `response_time_ms_min` and `max` are NULL where there is none.
-- `latencies` is a histogram of response times that is merged by adding: sum(latencies). See latencies.py.
CREATE TABLE rollups_by_minute (
    series_id bigint NOT NULL,
    bucket_start timestamptz NOT NULL,
    status_class smallint NOT NULL CHECK (status_class BETWEEN 1 AND 5),
    requests bigint NOT NULL CHECK (requests >= 0),
    billable_requests bigint NOT NULL CHECK (billable_requests BETWEEN 0 AND requests),
    errors bigint NOT NULL CHECK (errors BETWEEN 0 AND requests),
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    response_time_ms_sum bigint NOT NULL CHECK (response_time_ms_sum >= 0),
    response_time_ms_min integer,
    response_time_ms_max integer,
    latencies numeric NOT NULL CHECK (latencies >= 0),
    PRIMARY KEY (series_id, bucket_start, status_class)
) PARTITION BY RANGE (bucket_start);  -- by UTC day too, rollups_by_minute_<YYYYMMDD>: thinned by dropping
CREATE INDEX rollups_by_minute_by_time ON rollups_by_minute (bucket_start);

-- The sums are in no index: room for HOT updates.
CREATE TABLE rollups_by_hour (LIKE rollups_by_minute INCLUDING ALL) WITH (fillfactor = 70);
CREATE TABLE rollups_by_day (LIKE rollups_by_minute INCLUDING ALL) WITH (fillfactor = 70);
ALTER TABLE rollups_by_hour ADD CHECK (bucket_start = date_trunc('hour', bucket_start, 'UTC'));
ALTER TABLE rollups_by_day ADD CHECK (bucket_start = date_trunc('day', bucket_start, 'UTC'));

-- What a UTC day's events of a series and a source come to so far. Those of no test key are what billing is told
-- (ams.usage.v1.UsageTotal): they only grow, and are the same after a restore once the topic has been read again.
CREATE TABLE day_totals (
    series_id bigint NOT NULL,
    day date NOT NULL,
    source_id integer NOT NULL,
    charge_class smallint NOT NULL CHECK (charge_class BETWEEN 1 AND 4),
    is_test boolean NOT NULL,
    events bigint NOT NULL CHECK (events > 0),
    requests bigint NOT NULL CHECK (requests BETWEEN 0 AND events),
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    last_offset bigint NOT NULL,
    PRIMARY KEY (series_id, day, source_id, charge_class, is_test)
) WITH (fillfactor = 70);
CREATE INDEX day_totals_by_day ON day_totals (day);

-- What gateways say they have forwarded (ams.usage.v1.ForwardedTotal): events, by their own count.
CREATE TABLE forwarded_totals (
    journal_id uuid NOT NULL,
    day date NOT NULL,
    merchant_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    events bigint NOT NULL CHECK (events >= 0),
    PRIMARY KEY (journal_id, day, merchant_id, consumer_id)
) WITH (fillfactor = 70);
CREATE INDEX forwarded_totals_by_merchant ON forwarded_totals (merchant_id, day);
CREATE INDEX forwarded_totals_by_consumer ON forwarded_totals (consumer_id, day);

-- Makes the partitions of `days` that are missing, of events and of minutes; returns of how many days. Several
-- processes may ask for the same day at once. A table is made apart and then attached: that lock lets others go on
-- inserting.
CREATE FUNCTION ensure_usage_partitions(days date[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    day date;
    parent text;
    partition_name text;
    is_new boolean;
    made integer := 0;
BEGIN
    FOR day IN SELECT DISTINCT d FROM unnest(days) AS d ORDER BY d LOOP
        CONTINUE WHEN to_regclass('rollups_by_minute_' || to_char(day, 'YYYYMMDD')) IS NOT NULL
            AND to_regclass('usage_events_' || to_char(day, 'YYYYMMDD')) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || '.usage_events', 0));
        is_new := false;
        FOREACH parent IN ARRAY ARRAY['usage_events', 'rollups_by_minute'] LOOP
            partition_name := parent || '_' || to_char(day, 'YYYYMMDD');
            -- With a new snapshot: to_regclass() would still answer from its cache of before the wait.
            CONTINUE WHEN EXISTS (
                SELECT FROM pg_class
                WHERE relname = partition_name AND relnamespace = to_regnamespace(quote_ident(current_schema()))
            );
            is_new := true;
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition_name, parent);
            IF parent = 'rollups_by_minute' THEN
                EXECUTE format('ALTER TABLE %I SET (fillfactor = 70)', partition_name);
            END IF;
            EXECUTE format(
                'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                parent, partition_name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
            );
        END LOOP;
        made := made + is_new::integer;
    END LOOP;
    RETURN made;
END
$$;
