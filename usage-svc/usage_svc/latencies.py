"""Histograms of response times that are merged by adding two numbers. Pure.

Times are whole milliseconds. Below 50 ms each has a bucket of its own; from there on buckets widen so that
their middle is within 1 % of whatever fell into them. The counts of a histogram are the digits of one number,
bucket 0 in the last 12: PostgreSQL merges histograms with `sum(latencies)`, and adds to one with `+`.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_MS: Final = 2**31 - 1
_ERROR: Final = 0.01
# A bucket's count may reach 10^12 before it would run over into the next one.
_DIGITS: Final = 12


def _upper_bounds() -> list[int]:
    bounds = [0]
    while bounds[-1] < MAX_MS:
        lowest = bounds[-1] + 1
        # The highest time whose distance from the bucket's middle is at most 1 % of the lowest.
        bounds.append(max(lowest, int(lowest * (1 + 2 * _ERROR))))
    return bounds


# Where buckets end, both with: bucket i holds what is above bound i - 1 and up to bound i.
_UPPER = np.array(_upper_bounds(), dtype=np.int64)
_LOWER = np.concatenate([[0], _UPPER[:-1] + 1])
MIDDLE_MS = (_LOWER + _UPPER) / 2
BUCKETS: Final = len(_UPPER)


def bucket_of(times_ms: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The bucket of each time."""
    return np.searchsorted(_UPPER, np.asarray(times_ms)).astype(np.int64)


def number(times_ms: Iterable[int]) -> str:
    """The histogram of a few times as the text of a number."""
    counts = np.bincount(bucket_of(list(times_ms)))
    return "".join(f"{count:0{_DIGITS}}" for count in reversed(counts.tolist())) or "0"


def counts_of(latencies: Decimal | str) -> npt.NDArray[np.int64]:
    """How many times fell into each bucket, up to the last that holds any. `latencies` is what PostgreSQL
    gives for a sum, as a number or, sooner done, as text (`sum(latencies)::text`)."""
    text = latencies if isinstance(latencies, str) else format(latencies, "f")
    text = text.zfill(-(-len(text) // _DIGITS) * _DIGITS)
    return np.frombuffer(text.encode("ascii"), dtype=f"S{_DIGITS}")[::-1].astype(np.int64)


def quantiles_ms(latencies: Decimal | str, wanted: Sequence[float]) -> list[float]:
    """The quantiles (0.5: the median), each right to 1 % and exact below 50 ms; 0 for an empty histogram."""
    reached = np.cumsum(counts_of(latencies))
    total = int(reached[-1])
    if not total:
        return [0.0] * len(wanted)
    ranks = [min(total, int(share * (total - 1)) + 1) for share in wanted]
    return [float(MIDDLE_MS[bucket]) for bucket in np.searchsorted(reached, ranks)]
