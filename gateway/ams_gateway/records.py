"""The journal's records on disk: length and CRC-32 (both 32 bits, big-endian), then the event."""

import struct
import zlib
from collections.abc import Iterator

_PREFIX = struct.Struct(">II")
PREFIX_BYTES = _PREFIX.size

# A length beyond this is no length: the record is torn or foreign.
MAX_EVENT_BYTES = 64 * 1024


def pack_record(event: bytes) -> bytes:
    return _PREFIX.pack(len(event), zlib.crc32(event)) + event


def read_records(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole event and the offset just after it. Stops at the first record that isn't whole: it
    was being written when its process was killed, and its request was never answered."""
    position = 0
    while position + PREFIX_BYTES <= len(data):
        length, checksum = _PREFIX.unpack_from(data, position)
        end = position + PREFIX_BYTES + length
        if length > MAX_EVENT_BYTES or end > len(data):
            return
        event = data[position + PREFIX_BYTES : end]
        if zlib.crc32(event) != checksum:
            return
        yield event, end
        position = end
