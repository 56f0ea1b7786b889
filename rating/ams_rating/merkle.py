"""Merkle trees as in RFC 6962, section 2.1, with SHA-256: a hash that stands for a list, and short proofs of
what is in it.

Level 0 of a tree are its leaves' hashes. A node of the next level stands for two neighbours, and the last of
an odd number moves up as it is. That is the tree of the RFC, said from below.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf. Its prefix differs from a node's, so that no node can be shown as a leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two neighbours."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root over leaves in their order. Holds a hash a level, however many leaves come."""
    # Complete trees from the left, each smaller than the one before: (level, root).
    peaks: list[tuple[int, bytes]] = []
    for each in leaf_hashes:
        level, node = 0, each
        while peaks and peaks[-1][0] == level:
            node = node_hash(peaks.pop()[1], node)
            level += 1
        peaks.append((level, node))
    if not peaks:
        return EMPTY_ROOT
    root = peaks.pop()[1]
    while peaks:
        root = node_hash(peaks.pop()[1], root)
    return root


def levels_of(leaf_hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    """All of the tree's nodes by level, the leaves first and the root last; one empty level for no leaves."""
    levels: list[Sequence[bytes]] = [leaf_hashes]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [node_hash(left, right) for left, right in zip(below[::2], below[1::2], strict=False)]
        levels.append([*above, below[-1]] if len(below) % 2 else above)
    return levels


def path_positions(index: int, size: int) -> Iterator[tuple[int, int]]:
    """Which nodes an audit path consists of, from the leaf up: (level, index in it). For whoever keeps the
    levels elsewhere."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} has no leaf {index}")
    level = 0
    while size > 1:
        sibling = index ^ 1
        if sibling < size:
            yield level, sibling
        index, size, level = index // 2, (size + 1) // 2, level + 1


def audit_paths(leaf_hashes: Sequence[bytes], indexes: Iterable[int]) -> list[tuple[bytes, ...]]:
    """The audit paths of the leaves at `indexes`: the tree is built once for all of them."""
    levels = levels_of(leaf_hashes)
    return [
        tuple(levels[level][position] for level, position in path_positions(index, len(leaf_hashes)))
        for index in indexes
    ]


def root_by_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root of the tree of `size` leaves in which `path` leads up from the leaf with this hash at `index`.
    None for a path that can't be one of that place."""
    if not 0 <= index < size or any(len(each) != HASH_BYTES for each in path):
        return None
    positions = [position for _, position in path_positions(index, size)]
    if len(positions) != len(path):
        return None
    node = leaf
    for position, sibling in zip(positions, path, strict=True):
        # An odd position is a right neighbour.
        node = node_hash(node, sibling) if position % 2 else node_hash(sibling, node)
    return node
