"""One hash that stands for all the roots that an invoice rests on: an invoice carries it (docs/proofs.md)."""

from collections.abc import Iterable

from ams_rating.merkle import leaf_hash, root_of
from ams_rating.proof import DayRoot

FORM = "ams-day-root/1"


def root_digest(roots: Iterable[DayRoot]) -> bytes:
    """The root of a tree whose leaves are these roots, by day and edition; of no roots the hash of
    nothing."""
    in_order = sorted(roots, key=lambda root: (root.day, root.edition))
    return root_of(leaf_hash(_leaf(root)) for root in in_order)


def _leaf(root: DayRoot) -> bytes:
    """The root's fields between vertical bars, as a leaf of events has them."""
    parts = (FORM, root.merchant_id, root.day, root.edition, root.events, root.root.hex())
    return "|".join(map(str, parts)).encode("ascii")
