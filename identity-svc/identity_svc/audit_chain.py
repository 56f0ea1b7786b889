"""The chain of audit records: each one's hash is over its canonical bytes and the hash of the one before.

PostgreSQL computes it when a record is stored (ams_common/audit_log/migrations). Here it is computed again,
by nothing of what the database holds but the records themselves, and compared. Pure.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A record's position, from 1 on, and its 32 bytes of hash: whoever has noted them can tell later whether
    the log up to there is still the same."""

    position: int
    record_hash: bytes

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """A checkpoint as `str` writes it: "1204:9f86d0…". Raises ValueError."""
        position, _, record_hash = text.partition(":")
        parsed = cls(int(position), bytes.fromhex(record_hash))
        if parsed.position < 1 or len(parsed.record_hash) != hashlib.sha256().digest_size:
            raise ValueError("a checkpoint is a position, a colon and 64 hexadecimal digits")
        return parsed

    def __str__(self) -> str:
        return f"{self.position}:{self.record_hash.hex()}"


BEGINNING = Checkpoint(0, bytes(hashlib.sha256().digest_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedRecord:
    """An audit record as it is stored. `details` is a JSON object of texts, `changes` a list of objects with
    the texts field, before and after."""

    position: int
    audit_id: UUID
    occurred_at: datetime
    actor: str
    action: str
    resource: str
    resource_id: str
    details: str
    request_id: str
    credential: str
    client_address: str
    changes: str
    stored_at: datetime
    record_hash: bytes

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.position, self.record_hash)


def chained_hash(previous_hash: bytes, record: ChainedRecord) -> bytes:
    """What the record's hash has to be after the record with `previous_hash`."""
    position = record.position.to_bytes(8, "big")
    return hashlib.sha256(previous_hash + position + canonical_bytes(record)).digest()


def canonical_bytes(record: ChainedRecord) -> bytes:
    details: Mapping[str, str] = json.loads(record.details)
    changes: Sequence[Mapping[str, Any]] = json.loads(record.changes)
    pairs = (text for name in sorted(details) for text in (name, details[name]))
    fields = (str(change[part]) for change in changes for part in ("field", "before", "after"))
    return b"".join(
        (
            _text(str(record.audit_id)),
            _time(record.occurred_at),
            *map(_text, (record.actor, record.action, record.resource, record.resource_id)),
            *map(_text, (record.request_id, record.credential, record.client_address)),
            _count(len(details)),
            *map(_text, pairs),
            _count(len(changes)),
            *map(_text, fields),
            _time(record.stored_at),
        )
    )


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _count(len(encoded)) + encoded


def _count(count: int) -> bytes:
    return count.to_bytes(4, "big")


def _time(moment: datetime) -> bytes:
    return ((moment - _EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)


class ChainCheck:
    """Goes along a chain, from where it begins, and says what is wrong with it. `noted`: checkpoints that
    were kept outside of the database."""

    def __init__(self, beginning: Checkpoint, noted: Iterable[Checkpoint] = ()) -> None:
        self._last = beginning
        self._noted = {each.position: each for each in noted}
        self._unseen = {position for position in self._noted if position > beginning.position}
        self.count = 0

    def problems(self, records: Iterable[ChainedRecord]) -> Iterator[str]:
        """What is wrong with the next records, by position, ascending. After a break it goes on from what is
        stored, so that one changed record isn't told of as if all were."""
        for record in records:
            yield from self._problems_of(record)
            self._last = record.checkpoint
            self._unseen.discard(record.position)
            self.count += 1

    def _problems_of(self, record: ChainedRecord) -> Iterator[str]:
        expected = self._last.position + 1
        if record.position < expected:
            yield f"record {record.position} stands before the log's beginning"
        elif record.position > expected:
            yield f"{_records(expected, record.position - 1)} missing"
        elif not _is_chained(self._last.record_hash, record):
            yield f"record {record.position} was changed, or isn't where it was stored"
        noted = self._noted.get(record.position)
        if noted is not None and noted.record_hash != record.record_hash:
            yield f"record {record.position} isn't the one that its checkpoint was noted of"

    def end(self, head: Checkpoint) -> Iterator[str]:
        """What is wrong once all records were seen; `head`: what the database says of the newest."""
        if head.position > self._last.position:
            yield f"{_records(self._last.position + 1, head.position)} missing"
        elif head != self._last:
            yield f"the newest record isn't number {head.position} that was stored last"
        for position in sorted(self._unseen):
            yield f"record {position}, whose checkpoint was noted, isn't there"


def _is_chained(previous_hash: bytes, record: ChainedRecord) -> bool:
    try:
        return chained_hash(previous_hash, record) == record.record_hash
    except (KeyError, TypeError, OverflowError):
        return False  # no record that we have stored: its JSON has another form, or its times are no times


def _records(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
