"""Entity tags of resources (AIP-154): a message with a field `etag` says in it which state it tells.

The tag is a digest of all else in the message. So it is another whenever anything differs that its reader
sees, whichever statement has changed it in whichever table: there is no version that one could forget.
Services build their messages without it, and the server puts it into every answer (see interceptors).
"""

from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from google.protobuf.message import Message

from ams_common.errors import AbortedError

FIELD = "etag"
# By when a change holds, in its answer alone: it is no part of the resource's state.
EFFECTIVE_BY = "effective_by"
_DIGEST_CHARACTERS = 32


def check_etag(given: str, present: Message) -> None:
    """Raises AbortedError etag_mismatch where the resource isn't any more as it was when the call was decided
    on. `given` is its etag then, or several with commas between, any of which will do; "" asks for nothing.
    `present` is the resource as whoever calls would read it now, and is held for the change."""
    if given and _etag_of(present) not in given.split(","):
        raise AbortedError(
            "etag_mismatch", "This has changed since you looked at it. Look at it again, then decide anew."
        )


def tag(answer: Message) -> None:
    """Puts its etag into every message of the answer that has one."""
    for message in _tagged(answer):
        setattr(message, FIELD, _etag_of(message))


def has_etag(descriptor: Any) -> bool:
    """Whether a message of this type has an etag of its own."""
    return FIELD in descriptor.fields_by_name


def _etag_of(message: Message) -> str:
    message.ClearField(FIELD)
    if EFFECTIVE_BY in message.DESCRIPTOR.fields_by_name and message.HasField(EFFECTIVE_BY):
        state = type(message)()
        state.CopyFrom(message)
        state.ClearField(EFFECTIVE_BY)
        message = state
    return sha256(message.SerializeToString(deterministic=True)).hexdigest()[:_DIGEST_CHARACTERS]


def _tagged(message: Message) -> Iterator[Message]:
    """The message before those within it: services compare its etag while they have none."""
    if has_etag(message.DESCRIPTOR):
        yield message
    for name, is_repeated in _ways(message.DESCRIPTOR):
        if is_repeated:
            for item in getattr(message, name):
                yield from _tagged(item)
        elif message.HasField(name):
            yield from _tagged(getattr(message, name))


@cache
def _ways(descriptor: Any) -> Sequence[tuple[str, bool]]:
    """The fields that lead to messages with an etag, and whether each is a list. Most types have none, and
    their answers aren't looked into."""
    return [
        (field.name, field.is_repeated)
        for field in descriptor.fields
        if field.message_type is not None
        and not field.message_type.GetOptions().map_entry
        and _leads(field.message_type, frozenset())
    ]


def _leads(descriptor: Any, above: frozenset[str]) -> bool:
    if descriptor.full_name in above:
        return False
    within = above | {descriptor.full_name}
    return has_etag(descriptor) or any(
        _leads(field.message_type, within) for field in descriptor.fields if field.message_type is not None
    )
