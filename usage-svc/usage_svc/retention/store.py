"""The SQL of retention: queries.sql beside it, and what names a partition, which can't be a parameter."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date

from ams_common.queries import QueryStore, column, maybe_value, one, run, value

from usage_svc.store import partition_name

_COPY_TIMEOUT_S = 6 * 3600.0
_COUNT_TIMEOUT_S = 600.0
# In the order of archive.COLUMNS.
_EXPORT = """
SELECT
    event_id, (extract(epoch FROM occurred_at) * 1000000)::bigint, sources.name, source_offset, consumer_id,
    merchant_id, service_id, api_key_id, project_id, key_prefix, price_version_id, request_bytes,
    response_bytes, request_messages, response_messages, response_time_ms, status_code, outcome,
    charge_class, is_continuation, is_test, journal_id, sequence, request_id
FROM {partition} JOIN series USING (series_id) JOIN sources USING (source_id)
"""


@dataclass(frozen=True, slots=True)
class Export:
    """A day's events, or a part of them, in a file."""

    day: date
    part: int
    file_name: str
    rows: int
    size_bytes: int


class RetentionStore(QueryStore, package="usage_svc", file="retention/queries.sql"):
    """What is old, and its way out."""

    try_turn = value(bool)
    end_turn = value(bool)
    partitions = column(str)
    wait_briefly = value(str)
    find_open_export = one(Export)
    next_part = value(int)
    set_export = run()
    set_dropped = run()
    oldest_tree_day = maybe_value(date)
    purge_tree_leaves = run()
    purge_tree_blocks = run()
    purge_journals = run()

    async def copy_events(self, day: date, take: Callable[[bytes], Awaitable[None]]) -> int:
        """Gives all events of a day's partition as CSV, piece by piece; returns how many they were."""
        sql = _EXPORT.format(partition=partition_name(day))
        status: str = await self.connection.copy_from_query(
            sql, output=take, format="csv", timeout=_COPY_TIMEOUT_S
        )
        return int(status.rsplit(" ", 1)[-1])

    async def count_events_finally(self, day: date) -> int:
        """How many events a day's partition has; none is added before the transaction has ended."""
        name = partition_name(day)
        await self.connection.execute(f"LOCK TABLE {name} IN SHARE MODE")
        count: int = await self.connection.fetchval(
            f"SELECT count(*) FROM {name}",  # noqa: S608
            timeout=_COUNT_TIMEOUT_S,
        )
        return count

    async def drop_partition(self, parent: str, name: str) -> None:
        await self.connection.execute(f"ALTER TABLE {parent} DETACH PARTITION {name}")
        await self.connection.execute(f"DROP TABLE {name}")
