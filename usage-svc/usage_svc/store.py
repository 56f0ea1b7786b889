"""The schema `usage`: the only module that runs SQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import asyncpg
from ams_common.queries import Queries

from usage_svc.events import MeteredRequest
from usage_svc.reports import MAX_POINTS, ReportRange, UsageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What of a range is wanted: how it is grouped, and of what only. None stands for all."""

    period: ReportRange
    group_by: str
    service_id: UUID | None = None


class Store:
    """Statements on the tables of usage-svc. Reports read rollups only."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def ensure_partitions(self, connection: asyncpg.Connection, days: Iterable[date]) -> int:
        """Make the partitions of `days` (UTC) that are missing; returns how many were."""
        made: int = await self._queries.value(connection, "ensure_partitions", days=list(days))
        return made

    async def add_events(
        self, connection: asyncpg.Connection, batch: Sequence[MeteredRequest]
    ) -> list[asyncpg.Record]:
        """Insert and roll up the events of a non-empty `batch` that are not there yet. Returns what they add
        up to, one row per (period, merchant_id, consumer_id, service_id, price_version_id)."""
        columns = dict(zip(MeteredRequest._fields, map(list, zip(*batch, strict=True)), strict=True))
        return await self._queries.many(connection, "add_events", **columns)

    async def usage_of_consumer(
        self,
        connection: asyncpg.Connection,
        consumer_id: UUID,
        cut: Cut,
        *,
        merchant_id: UUID | None = None,
        api_key_id: UUID | None = None,
    ) -> list[UsageRow]:
        """The consumer's usage, by bucket and group."""
        filters = {"consumer_id": consumer_id, "merchant_id": merchant_id, "api_key_id": api_key_id}
        return await self._usage(connection, "usage_of_consumer", cut, filters)

    async def usage_of_merchant(
        self, connection: asyncpg.Connection, merchant_id: UUID, cut: Cut, *, key_prefix: str | None = None
    ) -> list[UsageRow]:
        """The usage of the merchant's services, by bucket and group."""
        filters = {"merchant_id": merchant_id, "key_prefix": key_prefix}
        return await self._usage(connection, "usage_of_merchant", cut, filters)

    async def usage_of_platform(self, connection: asyncpg.Connection, cut: Cut) -> list[UsageRow]:
        """Everybody's usage, by bucket and group."""
        return await self._usage(connection, "usage_of_platform", cut, {})

    async def _usage(
        self, connection: asyncpg.Connection, name: str, cut: Cut, filters: Mapping[str, UUID | str | None]
    ) -> list[UsageRow]:
        """One row more than a report may have, at most."""
        rows = await self._queries.many(
            connection,
            name,
            range_start=cut.period.start,
            range_end=cut.period.end,
            granularity=cut.period.granularity_name,
            group_by=cut.group_by,
            service_id=cut.service_id,
            max_rows=MAX_POINTS + 1,
            **filters,
        )
        return [UsageRow(*row) for row in rows]
