"""The journal's records on disk: length and CRC-32 (both 32 bits, big-endian), then the event.

Segments are zeros until they are written: the CRC starts from a number that makes zeros no record.
"""

import struct
import zlib
from collections.abc import Iterator

_PREFIX = struct.Struct(">II")
PREFIX_BYTES = _PREFIX.size

# A length beyond this is no length: the record is torn or foreign.
MAX_EVENT_BYTES = 64 * 1024

_CRC_START = 0x414D5331


def pack_record(event: bytes) -> bytes:
    return _PREFIX.pack(len(event), zlib.crc32(event, _CRC_START)) + event


def read_records(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole event and the offset just after it. Stops at the first record that isn't whole:
    nothing was written there, or its process was killed amid it and its request was never answered."""
    position = 0
    while position + PREFIX_BYTES <= len(data):
        length, checksum = _PREFIX.unpack_from(data, position)
        end = position + PREFIX_BYTES + length
        if length > MAX_EVENT_BYTES or end > len(data):
            return
        event = data[position + PREFIX_BYTES : end]
        if zlib.crc32(event, _CRC_START) != checksum:
            return
        yield event, end
        position = end
