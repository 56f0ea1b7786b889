"""A tree in rows: leaves' hashes in blocks, whose nodes are its level 8, and for each series where its events
stand. Pure.

However many events a day has, what is held of it is a node a block; a path takes one block and those nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from ams_rating.merkle import HASH_BYTES, levels_of, path_positions, root_of

BLOCK_LEVEL = 8
BLOCK_LEAVES = 1 << BLOCK_LEVEL
RUN_EVENTS = 1024
# Of all series together: a merchant may have a hundred thousand of them.
_HELD_EVENTS = 200_000


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring leaves' hashes, one after the other, and the node above them all."""

    number: int
    node: bytes
    hashes: bytes


@dataclass(slots=True)
class Run:
    """Events of one series in the order of their ids, and at which places of the tree they stand."""

    series_id: int
    event_ids: list[UUID] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)


class TreeBuilder:
    """Takes the leaves in their order; what is complete is taken from it on the way."""

    def __init__(self) -> None:
        self.events = 0
        self._nodes: list[bytes] = []
        self._hashes = bytearray()
        self._runs: dict[int, Run] = {}
        self._held = 0
        self._blocks: list[Block] = []
        self._full_runs: list[Run] = []

    def add(self, series_id: int, event_id: UUID, leaf_hash: bytes) -> None:
        run = self._runs.setdefault(series_id, Run(series_id))
        run.event_ids.append(event_id)
        run.indexes.append(self.events)
        self.events += 1
        self._held += 1
        self._hashes += leaf_hash
        if len(self._hashes) == BLOCK_LEAVES * HASH_BYTES:
            self._end_block()
        if len(run.event_ids) == RUN_EVENTS:
            self._end_runs([series_id])
        elif self._held >= _HELD_EVENTS:
            self._end_runs(list(self._runs))

    def take(self) -> tuple[list[Block], list[Run]]:
        """The blocks and runs that are complete and weren't taken yet."""
        taken = self._blocks, self._full_runs
        self._blocks, self._full_runs = [], []
        return taken

    def end(self) -> bytes:
        """After the last leaf: the root. What is left can be taken now."""
        if self._hashes:
            self._end_block()
        self._end_runs(list(self._runs))
        return root_of(self._nodes)

    def _end_block(self) -> None:
        hashes = bytes(self._hashes)
        block = Block(len(self._nodes), root_of(split(hashes)), hashes)
        self._nodes.append(block.node)
        self._blocks.append(block)
        self._hashes.clear()

    def _end_runs(self, series_ids: list[int]) -> None:
        for series_id in series_ids:
            run = self._runs.pop(series_id)
            self._held -= len(run.event_ids)
            self._full_runs.append(run)


def split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def paths_in_block(
    upper: Sequence[Sequence[bytes]], hashes: bytes, indexes: Sequence[int], size: int
) -> list[tuple[bytes, ...]]:
    """The audit paths of leaves that are all in the block with these hashes. `upper` has the levels from the
    blocks' nodes on, as levels_of() makes them; the tree has `size` leaves."""
    lower = levels_of(split(hashes))

    def node(index: int, level: int, position: int) -> bytes:
        if level >= BLOCK_LEVEL:
            return upper[level - BLOCK_LEVEL][position]
        # A neighbour below the block's node is in the same block.
        first = (index >> BLOCK_LEVEL) << (BLOCK_LEVEL - level)
        return lower[level][position - first]

    return [
        tuple(node(index, level, position) for level, position in path_positions(index, size))
        for index in indexes
    ]
