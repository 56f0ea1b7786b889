"""Events with their paths to a published root, page by page in the order of their ids."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from ams_common.errors import FailedPreconditionError
from ams_common.pseudonyms import Pseudonyms
from ams_rating.merkle import levels_of

from usage_svc.file_store import FileStore
from usage_svc.proofs.leaves import SeriesOfLeaf, leaf_of, series_of_leaf
from usage_svc.proofs.store import Place, ProofStore, RunHead
from usage_svc.proofs.trees import BLOCK_LEVEL, paths_in_block
from usage_svc.retention.archive import ArchiveError, read_events

FIRST = UUID(int=0)
# Blocks of a tree that are held at a time.
_BLOCKS = 16

# What is recorded of an event, whose it is, and its source.
_Row = tuple[Mapping[str, Any], SeriesOfLeaf, str]


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """A leaf, and where it stands in which of its day's trees; edition 0: in none yet."""

    leaf: bytes
    source: str
    offset: int
    edition: int
    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class EventScope:
    """Whose events, of which service (None: all) and days, both with."""

    merchant_id: UUID
    consumer_id: UUID
    service_id: UUID | None
    first_day: date
    last_day: date


class TreePurgedError(FailedPreconditionError):
    """A tree that an event stands in is kept no longer: there is no path to its root."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProvenEvents:
    """Lists them; `archive` has the raw events of days that the database keeps no longer."""

    store: ProofStore
    pseudonyms: Pseudonyms
    archive: FileStore
    scope: EventScope

    async def page(self, after: UUID, limit: int) -> tuple[list[ProvenEvent], UUID | None]:
        """At most `limit` events that follow on `after`, and the id of the last if there are more.

        Raises TreePurgedError, and ArchiveError when an event is neither in the database nor in the archive.
        """
        scope, store = self.scope, self.store
        series = {
            row["series_id"]: row
            for row in await store.list_series_of_pair(
                merchant_id=scope.merchant_id, consumer_id=scope.consumer_id, service_id=scope.service_id
            )
        }
        places = await _closed_places(store, scope, list(series), after, limit + 1)
        known = {(place.day, place.event_id) for place in places}
        open_series = await store.list_open_series(list(series), scope.first_day, scope.last_day)
        for day, series_ids in open_series.items():
            if await store.has_events(day):
                found = await store.list_event_ids(day, series_ids, after, limit + 1)
                places += [Place(day, 0, each, 0) for each in found if (day, each) not in known]
        places.sort(key=lambda place: place.event_id)
        shown = places[:limit]
        paths = await _paths(store, scope.merchant_id, shown)
        rows = await self._rows(series, shown)
        # The last question: whatever was purged meanwhile isn't missed.
        if await store.has_purged_tree(
            merchant_id=scope.merchant_id, first_day=scope.first_day, last_day=scope.last_day
        ):
            raise TreePurgedError(
                "proof_expired", "These days are so long ago that they aren't proven any more."
            )
        events = [_proven(place, *rows[place.day, place.event_id], paths.get(place, ())) for place in shown]
        return events, shown[-1].event_id if len(places) > limit else None

    async def _rows(
        self, series: Mapping[int, Mapping[str, Any]], places: Sequence[Place]
    ) -> dict[tuple[date, UUID], _Row]:
        """What is recorded of the events, and whose they are."""
        by_day: defaultdict[date, list[UUID]] = defaultdict(list)
        for place in places:
            by_day[place.day].append(place.event_id)
        of_series = {key: series_of_leaf(row, self.pseudonyms) for key, row in series.items()}
        of_key = {(row["service_id"], row["api_key_id"]): of_series[key] for key, row in series.items()}
        sources = await self.store.list_sources()
        found: dict[tuple[date, UUID], _Row] = {}
        for day, event_ids in by_day.items():
            if await self.store.has_events(day):
                for row in await self.store.list_events(day, list(series), event_ids):
                    found[day, row["event_id"]] = row, of_series[row["series_id"]], sources[row["source_id"]]
                continue
            for each in await self._archived(day, event_ids):
                whose = of_key[each["service_id"], each["api_key_id"]]
                found[day, each["event_id"]] = each, whose, each["source"]
        missing = {(place.day, place.event_id) for place in places} - found.keys()
        if missing:
            raise ArchiveError(
                f"{len(missing)} events stand in a tree and nowhere else, as of {min(missing)[0]}"
            )
        return found

    async def _archived(self, day: date, event_ids: Sequence[UUID]) -> list[dict[str, Any]]:
        return [
            row
            for name in await self.store.list_archived_files(day=day)
            for row in await asyncio.to_thread(
                read_events, self.archive, name, self.scope.merchant_id, self.scope.consumer_id, event_ids
            )
        ]


def _proven(
    place: Place, row: Mapping[str, Any], series: SeriesOfLeaf, source: str, path: tuple[bytes, ...]
) -> ProvenEvent:
    return ProvenEvent(
        leaf=leaf_of(row, series, source),
        source=source,
        offset=row["source_offset"],
        edition=place.edition,
        index=place.index,
        path=path,
    )


async def _closed_places(
    store: ProofStore, scope: EventScope, series_ids: list[int], after: UUID, count: int
) -> list[Place]:
    """Where the first `count` events after one stand, and maybe some that follow on them without a gap."""
    runs = await store.list_runs(
        series_ids=series_ids, first_day=scope.first_day, last_day=scope.last_day, after=after
    )
    places: list[Place] = []
    for part in _parts(runs, count):
        # Whatever run begins later holds nothing that comes before the last one wanted.
        if len(places) >= count and places[count - 1].event_id < part[0].first_event_id:
            return places[:count]
        places += await store.list_places(part, after)
        places.sort(key=lambda place: place.event_id)
    return places


def _parts(runs: Sequence[RunHead], count: int) -> Iterator[Sequence[RunHead]]:
    """The runs in parts of about `count` events."""
    part: list[RunHead] = []
    for run in runs:
        part.append(run)
        if sum(each.events for each in part) >= count:
            yield part
            part = []
    if part:
        yield part


async def _paths(
    store: ProofStore, merchant_id: UUID, places: Sequence[Place]
) -> dict[Place, tuple[bytes, ...]]:
    trees: defaultdict[tuple[date, int], dict[int, list[Place]]] = defaultdict(dict)
    for place in places:
        if place.edition:
            trees[place.day, place.edition].setdefault(place.index >> BLOCK_LEVEL, []).append(place)
    paths: dict[Place, tuple[bytes, ...]] = {}
    for (day, edition), blocks in trees.items():
        roots = await store.list_roots(merchant_id=merchant_id, first_day=day, last_day=day)
        size = next(root.events for root in roots if root.edition == edition)
        upper = levels_of(await store.list_nodes(merchant_id=merchant_id, day=day, edition=edition))
        numbers = sorted(blocks)
        for start in range(0, len(numbers), _BLOCKS):
            hashes = await store.list_hashes(merchant_id, day, edition, numbers[start : start + _BLOCKS])
            for number, content in hashes.items():
                wanted = blocks[number]
                found = paths_in_block(upper, content, [place.index for place in wanted], size)
                paths.update(zip(wanted, found, strict=True))
    return paths
