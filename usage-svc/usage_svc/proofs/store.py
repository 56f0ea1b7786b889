"""The SQL of proofs. Raw events are read from a day's partition by its name: a prepared statement on the
whole table would lock all of its partitions, and wait while one is detached."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
from ams_common.queries import QueryStore, column, many, page, run, value

from usage_svc.proofs.leaves import EVENT_COLUMNS
from usage_svc.proofs.trees import Block, Run
from usage_svc.store import Store, partition_name

_FETCH = 1000
# The first rows come when all are sorted.
_SORT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class DayRoot:
    """What a day's events of a merchant hash to, as it was published."""

    merchant_id: UUID
    day: date
    edition: int
    events: int
    root: bytes
    published_at: datetime


@dataclass(frozen=True, slots=True)
class RunHead:
    """A row of tree_leaves without its events."""

    series_id: int
    day: date
    edition: int
    first_event_id: UUID
    events: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event stands: in which tree of its day, and there at which index."""

    day: date
    edition: int
    event_id: UUID
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """What was forwarded and recorded of a merchant's day, of one consumer or of all that were asked for: see
    DayTotal of the contract. Only what is of all has a digest."""

    day: date
    merchant_id: UUID
    consumer_id: UUID | None = None
    forwarded_events: int
    recorded_events: int
    requests: int
    request_bytes: int
    response_bytes: int
    test_events: int
    test_request_bytes: int
    test_response_bytes: int
    dead_letters: int
    unrecorded_events: int
    untold_events: int
    digest: str = ""


class WaitingEvents(Counter[tuple[date, UUID, UUID]]):
    """How many events wait as dead letters, by day, merchant and consumer."""

    @property
    def rows(self) -> dict[str, list[Any]]:
        """As the queries of day totals take them."""
        return {
            "waiting_days": [day for day, _, _ in self],
            "waiting_merchant_ids": [merchant_id for _, merchant_id, _ in self],
            "waiting_consumer_ids": [consumer_id for _, _, consumer_id in self],
            "waiting_events": list(self.values()),
        }


class ProofStore(QueryStore, package="usage_svc.proofs"):
    """The tables day_roots, tree_blocks and tree_leaves, and the raw events that they are made of."""

    list_open_merchants = column(UUID)
    lock_day = value(bool)
    next_edition = value(int)
    _has_partition = value(bool)
    list_series_of_merchant = many(dict[str, Any])
    list_series_of_pair = many(dict[str, Any])
    _list_open_series = many(dict[str, Any])
    _add_blocks = run()
    _add_leaves = run()
    add_root = run()
    list_roots = many(DayRoot)
    list_runs = many(RunHead)
    _list_places = many(Place)
    list_archived_files = column(str)
    has_purged_tree = value(bool)
    list_nodes = column(bytes)
    _list_hashes = many(dict[str, Any])
    list_day_totals = many(DayFigures)
    list_consumer_day_totals = page(DayFigures)
    list_waiting_payloads = column(bytes)

    async def has_events(self, day: date) -> bool:
        """Whether the day's raw events are kept still."""
        return await self._has_partition(partition=partition_name(day))

    async def list_sources(self) -> dict[int, str]:
        return await Store(self.connection).list_sources()

    async def list_open_series(
        self, series_ids: Sequence[int], first_day: date, last_day: date
    ) -> dict[date, list[int]]:
        """By day the series of which there are events in no tree."""
        found: dict[date, list[int]] = {}
        for row in await self._list_open_series(
            series_ids=series_ids, first_day=first_day, last_day=last_day
        ):
            found.setdefault(row["day"], []).append(row["series_id"])
        return found

    async def stream_open_events(
        self, day: date, series_ids: Sequence[int]
    ) -> AsyncIterator[list[asyncpg.Record]]:
        """The raw events of the series on a day that are in no tree, in the order of their ids, some at a
        time. PostgreSQL sorts them, so nobody holds them all."""
        cursor = await self.connection.cursor(
            f"SELECT {EVENT_COLUMNS} FROM {partition_name(day)} AS event"  # noqa: S608
            " WHERE series_id = ANY($1::bigint[]) AND NOT EXISTS ("
            "   SELECT FROM (SELECT unnest(event_ids) AS event_id FROM tree_leaves"
            "                WHERE series_id = ANY($1::bigint[]) AND day = $2) AS known"
            "   WHERE known.event_id = event.event_id)"
            " ORDER BY event_id, occurred_at",
            series_ids,
            day,
        )
        while rows := await cursor.fetch(_FETCH, timeout=_SORT_TIMEOUT_S):
            yield rows

    async def list_event_ids(
        self, day: date, series_ids: Sequence[int], after: UUID, limit: int
    ) -> list[UUID]:
        """The ids of raw events that follow on `after`, whether they are in trees or not."""
        rows = await self.connection.fetch(
            f"SELECT event_id FROM {partition_name(day)}"  # noqa: S608
            " WHERE series_id = ANY($1::bigint[]) AND event_id > $2 ORDER BY event_id LIMIT $3",
            series_ids,
            after,
            limit,
        )
        return [row[0] for row in rows]

    async def list_events(
        self, day: date, series_ids: Sequence[int], event_ids: Sequence[UUID]
    ) -> list[asyncpg.Record]:
        """Raw events by their ids."""
        rows: list[asyncpg.Record] = await self.connection.fetch(
            f"SELECT {EVENT_COLUMNS} FROM {partition_name(day)}"  # noqa: S608
            " WHERE event_id = ANY($1::uuid[]) AND series_id = ANY($2::bigint[])",
            event_ids,
            series_ids,
        )
        return rows

    async def list_places(self, runs: Sequence[RunHead], after: UUID) -> list[Place]:
        """The events after one in runs, and where each stands."""
        return await self._list_places(
            series_ids=[each.series_id for each in runs],
            days=[each.day for each in runs],
            editions=[each.edition for each in runs],
            first_event_ids=[each.first_event_id for each in runs],
            after=after,
        )

    async def list_hashes(
        self, merchant_id: UUID, day: date, edition: int, blocks: Sequence[int]
    ) -> dict[int, bytes]:
        """The leaves' hashes of some blocks of a tree."""
        rows = await self._list_hashes(merchant_id=merchant_id, day=day, edition=edition, blocks=blocks)
        return {row["block"]: row["hashes"] for row in rows}

    async def add_tree_parts(
        self, merchant_id: UUID, day: date, edition: int, blocks: Sequence[Block], runs: Sequence[Run]
    ) -> None:
        if blocks:
            await self._add_blocks(
                merchant_id=merchant_id,
                day=day,
                edition=edition,
                blocks=[block.number for block in blocks],
                nodes=[block.node for block in blocks],
                hashes=[block.hashes for block in blocks],
            )
        for each in runs:
            await self._add_leaves(
                series_id=each.series_id,
                day=day,
                edition=edition,
                first_event_id=each.event_ids[0],
                last_event_id=each.event_ids[-1],
                event_ids=each.event_ids,
                indexes=each.indexes,
            )
