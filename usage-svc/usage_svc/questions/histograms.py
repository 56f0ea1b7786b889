"""Many histograms of response times at once: PostgreSQL's sums of them, read, added up and asked. Pure.

What a histogram is, `latencies` says. Its number comes as PostgreSQL sends a numeric (`numeric_send()`):
four 16-bit words, then digits to the base of 10,000, of which three make a bucket's twelve decimal ones. So
nothing has to be written as decimals and read again.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from usage_svc import latencies

Counts = npt.NDArray[np.int64]

_HEADER_WORDS: Final = 4
# Of a bucket, the lowest first.
_DIGITS: Final = 3


def read_counts(numbers: Sequence[bytes]) -> Counts:
    """How many times fell into each bucket: a row for each number, columns up to the last bucket that holds
    any of any."""
    words = [np.frombuffer(number, dtype=">i2") for number in numbers]
    # words[1] is the place of the first digit; that of zero, which has no digits, is 0.
    buckets = max((int(each[1]) for each in words), default=0) // _DIGITS + 1
    digits = np.zeros((len(words), buckets * _DIGITS), dtype=np.int16)
    for row, each in zip(digits, words, strict=True):
        highest, held = int(each[1]), len(each) - _HEADER_WORDS
        row[highest + 1 - held : highest + 1] = each[: _HEADER_WORDS - 1 : -1]
    units, ten_thousands, hundred_millions = np.moveaxis(digits.reshape(len(words), buckets, _DIGITS), 2, 0)
    counts: Counts = units + ten_thousands * np.int64(10**4)
    if hundred_millions.any():
        counts += hundred_millions * np.int64(10**8)
    return counts


def quantiles_ms(counts: Counts, wanted: Sequence[float]) -> list[list[float]]:
    """For each row its quantiles (0.5: the median), as latencies.quantiles_ms() gives them for one."""
    reached = np.cumsum(counts, axis=1)
    total = reached[:, -1]
    found = np.zeros((len(counts), len(wanted)))
    for column, share in enumerate(wanted):
        rank = np.minimum(total, (share * (total - 1)).astype(np.int64) + 1)
        bucket = np.count_nonzero(reached < rank[:, np.newaxis], axis=1)
        found[:, column] = np.where(
            total > 0, latencies.MIDDLE_MS[np.minimum(bucket, latencies.BUCKETS - 1)], 0
        )
    quantiles: list[list[float]] = found.tolist()
    return quantiles


def widened(counts: Counts, buckets: int) -> Counts:
    """The same counts with columns for so many buckets, at least."""
    missing = buckets - counts.shape[1]
    return np.pad(counts, ((0, 0), (0, missing))) if missing > 0 else counts
