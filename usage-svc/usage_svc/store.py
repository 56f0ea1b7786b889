"""The only module that runs SQL: what each query is, queries.sql says."""

from collections.abc import Sequence

from ams_common.queries import QueryStore, many, value

from usage_svc.events import MeteredRequest, NewUsage
from usage_svc.journals import JournalGap
from usage_svc.reports import UsageRow


class Store(QueryStore, package="usage_svc"):
    """The schema `usage`. Reports read rollups only, never the raw events."""

    ensure_partitions = value(int)
    _add_events = many(NewUsage)
    usage_of_consumer = many(UsageRow)
    usage_of_merchant = many(UsageRow)
    usage_of_platform = many(UsageRow)
    journal_gaps = many(JournalGap)

    async def add_events(self, events: Sequence[MeteredRequest]) -> list[NewUsage]:
        """Insert and roll up those of `events`, one at least, that are not there yet; what they add up to."""
        # An array per column, for unnest(): one statement however many events there are.
        columns = zip(*events, strict=True)
        return await self._add_events(**dict(zip(MeteredRequest._fields, map(list, columns), strict=True)))
