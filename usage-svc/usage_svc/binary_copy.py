"""Events in the form of COPY … WITH (FORMAT binary): rows of the table usage_events. Pure.

Rows of the same layout are one array of numpy, whose memory is what PostgreSQL reads. The layout depends on
what has no length of its own: the request id, and whether there is a journal.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from usage_svc.columns import EventColumns

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END: Final = b"\xff\xff"
# PostgreSQL counts from 2000-01-01.
EPOCH_US: Final = 946_684_800_000_000
_NULL: Final = -1
# Enough for numpy, and little memory.
_ROWS_AT_ONCE: Final = 5_000

COLUMNS: Final = (
    "event_id",
    "occurred_at",
    "series_id",
    "source_id",
    "source_offset",
    "price_version_id",
    "request_bytes",
    "response_bytes",
    "request_messages",
    "response_messages",
    "response_time_ms",
    "status_code",
    "outcome",
    "charge_class",
    "is_continuation",
    "is_test",
    "journal_id",
    "sequence",
    "request_id",
)


def rows(events: EventColumns, source_id: int) -> Iterator[bytes]:
    """The whole of what COPY is told, in pieces."""
    yield SIGNATURE
    lengths = np.fromiter(map(len, events.request_id), np.int64, len(events))
    layouts = np.where(lengths > 0, lengths, _NULL) * 2 + (events.sequence > 0)
    for layout in np.unique(layouts).tolist():
        request_id_length, has_journal = divmod(layout, 2)
        of_layout = np.flatnonzero(layouts == layout)
        for start in range(0, len(of_layout), _ROWS_AT_ONCE):
            piece = events[of_layout[start : start + _ROWS_AT_ONCE]]
            yield _rows_of_layout(piece, source_id, bool(has_journal), request_id_length).tobytes()
    yield END


def _rows_of_layout(
    events: EventColumns, source_id: int, has_journal: bool, request_id_length: int
) -> npt.NDArray[np.void]:
    fields: dict[str, tuple[str, npt.ArrayLike]] = {
        "event_id": ("V16", _uuids(events.id_high, events.id_low)),
        "occurred_at": (">i8", events.occurred_at_us - EPOCH_US),
        "series_id": (">i8", events.series_id),
        "source_id": (">i4", source_id),
        "source_offset": (">i8", events.offset),
        "price_version_id": ("V16", _uuids_of_bytes(events.price_version_id.tolist())),
        "request_bytes": (">i8", events.request_bytes),
        "response_bytes": (">i8", events.response_bytes),
        "request_messages": (">i8", events.request_messages),
        "response_messages": (">i8", events.response_messages),
        "response_time_ms": (">i4", events.response_time_ms),
        "status_code": (">i2", events.status_code),
        "outcome": (">i2", events.outcome),
        "charge_class": (">i2", events.charge_class),
        "is_continuation": ("?", events.is_continuation),
        "is_test": ("?", events.is_test),
    }
    if has_journal:
        journals = _uuids_of_bytes(events.journal_id.tolist())
        fields |= {"journal_id": ("V16", journals), "sequence": (">i8", events.sequence)}
    if request_id_length != _NULL:
        texts = [text.encode("ascii") for text in events.request_id]
        fields["request_id"] = (f"S{request_id_length}", np.array(texts, dtype=f"S{request_id_length}"))
    layout: list[tuple[str, str]] = [("columns", ">i2")]
    for name in COLUMNS:
        layout.append((f"{name}_length", ">i4"))
        if name in fields:
            layout.append((name, fields[name][0]))
    found = np.empty(len(events), dtype=layout)
    found["columns"] = len(COLUMNS)
    for name in COLUMNS:
        found[f"{name}_length"] = found.dtype[name].itemsize if name in fields else _NULL
        if name in fields:
            found[name] = fields[name][1]
    return found


def _uuids(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> npt.NDArray[np.void]:
    halves = np.stack([high, low], axis=1).astype(">u8")
    return np.frombuffer(halves.tobytes(), dtype="V16")


def _uuids_of_bytes(values: list[bytes]) -> npt.NDArray[np.void]:
    return np.frombuffer(b"".join(values), dtype="V16")


def hex_ids(events: EventColumns) -> list[str]:
    """The events' ids as texts that PostgreSQL's driver takes for UUIDs."""
    digits = _uuids(events.id_high, events.id_low).tobytes().hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


def is_among(events: EventColumns, found: list[tuple[bytes, int]]) -> npt.NDArray[np.bool_]:
    """Which of the events are among those `found`, each an id and a time in microseconds."""
    known = set(found)
    ids = _uuids(events.id_high, events.id_low).tobytes()
    times: list[int] = events.occurred_at_us.tolist()
    return np.fromiter(
        ((ids[16 * n : 16 * n + 16], time) in known for n, time in enumerate(times)), np.bool_, len(times)
    )
