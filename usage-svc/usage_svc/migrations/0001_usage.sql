-- Every request that the gateway forwarded (PRD FR2-MERCH-03 "Data Stored Per Request"), one partition
-- per UTC day. An event carries its own time, so (event_id, occurred_at) finds a duplicate.
CREATE TABLE usage_events (
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    consumer_id uuid NOT NULL,
    api_key_id uuid NOT NULL,
    service_id uuid NOT NULL,
    merchant_id uuid NOT NULL,
    project_id uuid,
    price_version_id uuid NOT NULL,
    key_prefix text NOT NULL,
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    response_time_ms integer NOT NULL CHECK (response_time_ms >= 0),
    status_code smallint NOT NULL CHECK (status_code BETWEEN 100 AND 599),
    outcome text NOT NULL CHECK (outcome IN ('answered', 'client_closed', 'upstream_failed')),
    billable boolean NOT NULL,
    PRIMARY KEY (event_id, occurred_at)
) PARTITION BY RANGE (occurred_at);

-- Sums of usage_events, moved in the transaction that inserts them.
CREATE TABLE usage_rollups (
    granularity text NOT NULL CHECK (granularity IN ('minute', 'hour', 'day')),
    bucket_start timestamptz NOT NULL,
    consumer_id uuid NOT NULL,
    merchant_id uuid NOT NULL,
    service_id uuid NOT NULL,
    api_key_id uuid NOT NULL,
    key_prefix text NOT NULL,
    project_id uuid,
    status_class text NOT NULL CHECK (status_class IN ('1xx', '2xx', '3xx', '4xx', '5xx')),
    requests bigint NOT NULL CHECK (requests > 0),
    billable_requests bigint NOT NULL CHECK (billable_requests BETWEEN 0 AND requests),
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    response_time_ms_sum bigint NOT NULL CHECK (response_time_ms_sum >= 0),
    CHECK (bucket_start = date_trunc(granularity, bucket_start, 'UTC')),
    -- Reads of the whole platform use this order too.
    UNIQUE NULLS NOT DISTINCT (
        granularity, bucket_start, consumer_id, merchant_id, service_id, api_key_id, key_prefix, project_id,
        status_class
    )
) WITH (fillfactor = 80);  -- the sums are in no index: room for HOT updates

CREATE INDEX usage_rollups_by_consumer ON usage_rollups (consumer_id, granularity, bucket_start);
CREATE INDEX usage_rollups_by_merchant ON usage_rollups (merchant_id, granularity, bucket_start);

-- Makes the missing partitions for `days`. Several processes may ask for the same day at once. A table is
-- made apart and then attached: that lock lets others go on inserting.
CREATE FUNCTION ensure_usage_partitions(days date[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    day date;
    partition_name text;
    made integer := 0;
BEGIN
    FOR day IN SELECT DISTINCT d FROM unnest(days) AS d ORDER BY d LOOP
        partition_name := 'usage_events_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(partition_name) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || '.usage_events', 0));
        -- Now with a new snapshot: to_regclass() would still answer from its cache of before the wait.
        PERFORM FROM pg_class
        WHERE relname = partition_name AND relnamespace = to_regnamespace(quote_ident(current_schema()));
        CONTINUE WHEN FOUND;
        EXECUTE format('CREATE TABLE %I (LIKE usage_events INCLUDING ALL)', partition_name);
        EXECUTE format(
            'ALTER TABLE usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition_name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
