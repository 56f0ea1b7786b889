"""Rollups in the form of COPY … WITH (FORMAT binary): rows of the table staged_rollups. Pure.

All but the histogram is of one length, so it is one array of numpy; the histogram is a numeric as PostgreSQL
receives it: four 16-bit words, then digits to the base of 10,000, the highest first, of which three make a
bucket's twelve decimal ones.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from usage_svc.binary_copy import END, EPOCH_US, SIGNATURE
from usage_svc.columns import Ints
from usage_svc.rollups import SUMS, Level, Rollups

COLUMNS: Final = (
    "level",
    "series_id",
    "bucket_start",
    "status_class",
    *SUMS,
    "response_time_ms_min",
    "response_time_ms_max",
    "latencies",
)
_FORMS: Final = (">i2", ">i8", ">i8", ">i2", *(">i8" for _ in SUMS), ">i4", ">i4")
_HEADER: Final = ("digits", "weight", "sign", "scale")
_WORD_BYTES: Final = 2
# PostgreSQL's driver copies what it sends.
_WORDS_AT_ONCE: Final = 128 * 1024
# Of a bucket.
_DIGITS: Final = 3


def _layout() -> np.dtype[np.void]:
    fields = [("columns", ">i2")]
    for name, form in zip(COLUMNS, _FORMS, strict=False):
        fields += [(f"{name}_length", ">i4"), (name, form)]
    fields += [("latencies_length", ">i4"), *((name, ">i2") for name in _HEADER)]
    return np.dtype(fields)


_LAYOUT: Final = _layout()
_WORDS: Final = _LAYOUT.itemsize // _WORD_BYTES


def rows(levels: Mapping[Level, Rollups]) -> Iterator[bytes]:
    """The whole of what COPY is told, in pieces."""
    yield SIGNATURE
    for level, rollups in levels.items():
        words = _rows(level, rollups)
        for start in range(0, len(words), _WORDS_AT_ONCE):
            yield words[start : start + _WORDS_AT_ONCE].tobytes()
    yield END


def _rows(level: Level, rollups: Rollups) -> npt.NDArray[np.int16]:
    spans, highest = _spans(rollups)
    ends = np.cumsum(_WORDS + _DIGITS * spans)
    starts = ends - _WORDS - _DIGITS * spans
    words = np.zeros(ends[-1], dtype=">i2")
    words[starts[:, np.newaxis] + np.arange(_WORDS)] = _heads(level, rollups, spans, highest)
    at = starts[rollups.cells.row] + _WORDS + _DIGITS * (highest[rollups.cells.row] - rollups.cells.bucket)
    calls = rollups.cells.calls
    words[at], words[at + 1], words[at + 2] = calls // 10**8, calls // 10**4 % 10**4, calls % 10**4
    return words


def _spans(rollups: Rollups) -> tuple[Ints, Ints]:
    """Over how many buckets each row's histogram goes, and the highest of them; an empty one over none."""
    spans, highest = np.zeros(len(rollups), dtype=np.int64), np.zeros(len(rollups), dtype=np.int64)
    row, bucket, _ = rollups.cells
    first = np.flatnonzero(np.diff(row, prepend=-1))
    last = np.append(first[1:], len(row))[: len(first)] - 1
    highest[row[first]] = bucket[last]
    spans[row[first]] = bucket[last] - bucket[first] + 1
    return spans, highest


def _heads(level: Level, rollups: Rollups, spans: Ints, highest: Ints) -> npt.NDArray[np.int16]:
    """All but the digits, a row of words each."""
    heads = np.empty(len(rollups), dtype=_LAYOUT)
    values = (
        level,
        rollups.series_id,
        rollups.start_us - EPOCH_US,
        rollups.status_class,
        *rollups.sums.T,
        rollups.least_ms,
        rollups.greatest_ms,
    )
    heads["columns"] = len(COLUMNS)
    for name, value in zip(COLUMNS, values, strict=False):
        heads[f"{name}_length"] = _LAYOUT[name].itemsize
        heads[name] = value
    digits = _DIGITS * spans
    heads["latencies_length"] = _WORD_BYTES * (len(_HEADER) + digits)
    heads["digits"], heads["sign"], heads["scale"] = digits, 0, 0
    # The place of the highest digit, 0 for the last before the point.
    heads["weight"] = _DIGITS * highest + _DIGITS - 1
    return heads.view(">i2").reshape(len(rollups), _WORDS)
