"""A head cut apart, for requests and answers alike: what decides how it is read, which differs in few heads,
what goes on as it is, and the values that seldom come twice.

`cut` is compiled (`_heads.c`) where that could be built, else it is `cut_in_python`, which does the same.
Neither knows a field by its name, and neither refuses anything: what isn't plain is for a parser to read line
by line.
"""

import re
from collections.abc import Callable, Mapping

# What a field does to a head; from FIRST_SLOT on: it is the value of the slot kind - FIRST_SLOT.
PASSES, DROPPED, DECIDES, FIRST_SLOT = range(4)
SLOTS = 4

_MAX_HEAD_BYTES = 8192
# Names that are remembered, and of what length: strangers can make them up.
_MAX_KNOWN_NAMES = 4096
_MAX_KNOWN_NAME_BYTES = 64
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# No CR or LF by itself, no control character.
VALUE = re.compile(rb"[\t -~\x80-\xff]*")

# W3C Trace Context: a version, a trace id, a span's id, flags. A later version's may go on behind a hyphen.
_TRACEPARENT = re.compile(
    rb"(?!ff|00.{53}-)[0-9a-f]{2}(-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?"
)
_TRACE_VERSION = b"00"

# The first line and those that decide, those that go on as they are (each with its end), the slots' values.
Parts = tuple[bytes, bytes, bytes | None, bytes | None, bytes | None, bytes | None]
# Takes a head without the empty line at its end, kinds by the names of fields as they are spelled, and what
# values of so many bytes and more must not hold to go on. None: the head isn't plain. A name isn't known, a
# slot's field comes twice, a line is no field, or one that goes on is suspect.
Cut = Callable[[bytes, Mapping[bytes, int], tuple[bytes, ...], int], Parts | None]


def cut_in_python(
    head: bytes, kinds: Mapping[bytes, int], suspects: tuple[bytes, ...], suspect_bytes: int
) -> Parts | None:
    """See Cut."""
    if len(head) > _MAX_HEAD_BYTES:
        return None
    first, *lines = head.split(b"\r\n")
    deciding, passing = [first], []
    slots: list[bytes | None] = [None] * SLOTS
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        kind = kinds.get(name)
        if not colon or kind is None or VALUE.fullmatch(value) is None:
            return None
        if kind == PASSES:
            if len(value) >= suspect_bytes and any(suspect in value for suspect in suspects):
                return None
            passing.append(line)
        elif kind == DECIDES:
            deciding.append(line)
        elif kind >= FIRST_SLOT:
            if slots[kind - FIRST_SLOT] is not None:
                return None
            slots[kind - FIRST_SLOT] = value
    return join_lines(deciding), join_lines(passing), slots[0], slots[1], slots[2], slots[3]


def learn(kinds: dict[bytes, int], lines: list[bytes], kind_of: Callable[[bytes], int]) -> None:
    """Remember what the fields of a head do, so that the next with them may be plain. `kind_of` is asked for
    names in lower case."""
    for line in lines:
        name = line.partition(b":")[0]
        if name in kinds or len(name) > _MAX_KNOWN_NAME_BYTES or NAME.fullmatch(name) is None:
            continue
        if len(kinds) >= _MAX_KNOWN_NAMES:
            kinds.clear()
        kinds[name] = kind_of(name.lower())


def read_trace_in_python(value: bytes) -> bytes | None:
    """The trace that a call belongs to, as it goes on; None: it isn't one. Of a later version only what this
    one knows: the rest could hold anything."""
    found = _TRACEPARENT.fullmatch(value)
    return None if found is None else _TRACE_VERSION + found[1]


def join_lines(lines: list[bytes]) -> bytes:
    """Each line with its end."""
    return b"\r\n".join([*lines, b""])


def split_lines(block: bytes) -> list[bytes]:
    return block.split(b"\r\n")[:-1]


cut: Cut = cut_in_python
read_trace: Callable[[bytes], bytes | None] = read_trace_in_python
is_compiled = False
try:
    from ams_gateway.http import _heads
except ImportError:
    # The machine that it was installed on had no C compiler.
    pass
else:
    cut, read_trace, is_compiled = _heads.cut, _heads.read_trace, True
