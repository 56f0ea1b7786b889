"""Many events of before, loaded far sooner than usage-svc would count them, for `make bench-pipeline`."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
from ams_common.migrations import migrate
from usage_svc import latencies
from usage_svc.store import partition_name

from loadtests.bench.ingest_traffic import Traffic

# Calls of a series that follow each other, within a minute.
_RUN = 50
_TIME_MS = 50
_COLUMNS = (
    "series_id, bucket_start, status_class, requests, billable_requests, errors, request_bytes,"
    " response_bytes, response_time_ms_sum, response_time_ms_min, response_time_ms_max, latencies"
)
# Ids in the order of time, as gateways give them.
_EVENTS = f"""
    INSERT INTO {{partition}} (
        event_id, occurred_at, series_id, source_id, source_offset, price_version_id, request_bytes,
        response_bytes, request_messages, response_messages, response_time_ms, status_code, outcome,
        charge_class, is_continuation, is_test
    )
    SELECT
        (lpad(to_hex((extract(epoch FROM occurred_at) * 1000)::bigint), 12, '0')
            || left(md5(event::text), 20))::uuid,
        occurred_at, series_id, $1, event, '00000000-0000-7000-8000-000000000001', 512, 1024, 0, 0,
        {_TIME_MS}, 200, 1, 1, false, false
    FROM (
        SELECT event, $2::timestamptz + event * ($3::interval / $4::bigint) AS occurred_at
        FROM generate_series(0, $4::bigint - 1) AS event
    ) AS events
    JOIN numbered ON number = event / {_RUN} % (SELECT count(*) FROM numbered)
"""
_INDEXES = (
    "ALTER TABLE {partition} ADD PRIMARY KEY (event_id, occurred_at)",
    "CREATE INDEX ON {partition} (series_id, occurred_at)",
    "CREATE INDEX ON {partition} (occurred_at)",
    "CREATE INDEX ON {partition} (request_id) WHERE request_id IS NOT NULL",
)
_MINUTES = """
    INSERT INTO rollups_by_minute ({columns})
    SELECT
        series_id, date_trunc('minute', occurred_at, 'UTC'), 2, count(*), count(*), 0, sum(request_bytes),
        sum(response_bytes), sum(response_time_ms), {time_ms}, {time_ms}, count(*) * '{histogram}'::numeric
    FROM {partition} GROUP BY 1, 2
"""
_COARSER = """
    INSERT INTO rollups_by_{coarser} ({columns})
    SELECT
        series_id, date_trunc('{coarser}', bucket_start, 'UTC'), status_class, sum(requests),
        sum(billable_requests), sum(errors), sum(request_bytes), sum(response_bytes),
        sum(response_time_ms_sum), min(response_time_ms_min), max(response_time_ms_max), sum(latencies)
    FROM rollups_by_{finer} GROUP BY 1, 2, 3
"""
_DAY_TOTALS = """
    INSERT INTO day_totals (
        series_id, day, charge_class, is_test, events, requests, request_bytes, response_bytes, last_offsets
    )
    SELECT
        series_id, (occurred_at AT TIME ZONE 'UTC')::date, charge_class, is_test, count(*), count(*),
        sum(request_bytes), sum(response_bytes), jsonb_build_object(min(source_id), max(source_offset))
    FROM usage_events GROUP BY 1, 2, 3, 4
"""


async def load(url: str, traffic: Traffic, events: int) -> None:
    """So many of today, in the partition that the traffic's own events come into, of the same series; with
    all that is summed up of them."""
    await migrate(url, "usage_svc")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET maintenance_work_mem = '512MB'; SET work_mem = '256MB'")
        await _load(connection, traffic, events)
    finally:
        await connection.close()


async def _load(connection: asyncpg.Connection, traffic: Traffic, events: int) -> None:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await connection.copy_records_to_table("series", records=traffic.series())
    await connection.execute(
        "CREATE TEMPORARY TABLE numbered AS SELECT series_id, row_number() OVER () - 1 AS number FROM series"
    )
    partition = partition_name(midnight.date())
    # Indexes are made afterwards, in one go: that is most of what is saved.
    await connection.execute(f"CREATE TABLE {partition} (LIKE usage_events INCLUDING CONSTRAINTS)")
    await connection.execute(
        _EVENTS.format(partition=partition),
        await connection.fetchval("INSERT INTO sources (name) VALUES ('history/0') RETURNING source_id"),
        midnight,
        now - midnight,
        events,
    )
    for statement in _INDEXES:
        await connection.execute(statement.format(partition=partition))
    bounds = f"FROM ('{midnight.isoformat()}') TO ('{(midnight + timedelta(days=1)).isoformat()}')"
    await connection.execute(f"ALTER TABLE usage_events ATTACH PARTITION {partition} FOR VALUES {bounds}")
    await connection.fetchval("SELECT ensure_usage_partitions($1)", [midnight.date()])
    histogram = latencies.number([_TIME_MS])
    await connection.execute(
        _MINUTES.format(partition=partition, columns=_COLUMNS, time_ms=_TIME_MS, histogram=histogram)
    )
    for finer, coarser in pairwise(("minute", "hour", "day", "month")):
        await connection.execute(_COARSER.format(finer=finer, coarser=coarser, columns=_COLUMNS))
    await connection.execute(_DAY_TOTALS)
    await connection.fetchval("SELECT begin_consumer_sums(ARRAY(SELECT DISTINCT consumer_id FROM series))")
    rollups = [f"rollups_by_{level}" for level in ("minute", "hour", "day", "month")]
    for table in ("series", "consumer_sums", "usage_events", "day_totals", *rollups):
        await connection.execute(f"VACUUM (ANALYZE) {table}")
