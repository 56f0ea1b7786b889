"""Events with their paths to a published root, page by page in the order of their ids."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from ams_common.pseudonyms import Pseudonyms
from ams_rating.merkle import levels_of

from usage_svc.proofs.leaves import SeriesOfLeaf, leaf_of, series_of_leaf
from usage_svc.proofs.store import Place, ProofStore, RunHead
from usage_svc.proofs.trees import BLOCK_LEVEL, paths_in_block

FIRST = UUID(int=0)
# Blocks of a tree that are held at a time.
_BLOCKS = 16


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


async def list_proven_events(
    store: ProofStore, pseudonyms: Pseudonyms, scope: EventScope, after: UUID, limit: int
) -> tuple[list[ProvenEvent], UUID | None]:
    """At most `limit` events that follow on `after`, and the id of the last if there are more. An event that
    stands in a tree and is kept no longer is left out."""
    series = {
        row["series_id"]: series_of_leaf(row, pseudonyms)
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
    events = await _with_paths(store, scope.merchant_id, series, shown)
    return events, shown[-1].event_id if len(places) > limit else None


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


async def _with_paths(
    store: ProofStore, merchant_id: UUID, series: Mapping[int, SeriesOfLeaf], places: Sequence[Place]
) -> list[ProvenEvent]:
    """In the order of `places`."""
    sources = await store.list_sources()
    paths = await _paths(store, merchant_id, places)
    by_day: defaultdict[date, list[UUID]] = defaultdict(list)
    for place in places:
        by_day[place.day].append(place.event_id)
    rows = {
        (day, row["event_id"]): row
        for day, event_ids in by_day.items()
        if await store.has_events(day)
        for row in await store.list_events(day, list(series), event_ids)
    }
    return [
        ProvenEvent(
            leaf=leaf_of(row, series[row["series_id"]], sources[row["source_id"]]),
            source=sources[row["source_id"]],
            offset=row["source_offset"],
            edition=place.edition,
            index=place.index,
            path=paths.get(place, ()),
        )
        for place in places
        if (row := rows.get((place.day, place.event_id))) is not None
    ]


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
