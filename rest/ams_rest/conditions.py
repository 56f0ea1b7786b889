"""What headers say of a call beside its path, query and body: Idempotency-Key and If-Match."""

import re
from collections.abc import Sequence

from ams_common.errors import InvalidArgumentError
from google.protobuf.message import Message
from starlette.datastructures import Headers

from ams_rest.etags import wanted_etags
from ams_rest.field_paths import ETAG, IDEMPOTENCY_KEY, has_field

# A token, or a string in quotes as draft-ietf-httpapi-idempotency-key-header has it.
_IDEMPOTENCY_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,64})"?')


def apply_headers(message: Message, headers: Headers) -> None:
    """Put what the headers say into the request. Raises InvalidArgumentError where the call can't obey: a
    condition that was passed over would be worse than none."""
    _apply_idempotency_key(message, single(headers, "idempotency-key"))
    # A list may come in several lines (RFC 9110 §5.3).
    _apply_if_match(message, headers.getlist("if-match"))


def single(headers: Headers, name: str) -> str | None:
    """The value of a header that may come once. Raises InvalidArgumentError header_repeated."""
    values = headers.getlist(name)
    if len(values) > 1:
        raise InvalidArgumentError("header_repeated", f"Send one {name.title()} header.")
    return values[0] if values else None


def _apply_idempotency_key(message: Message, value: str | None) -> None:
    if value is None:
        return
    matched = _IDEMPOTENCY_KEY.fullmatch(value)
    if matched is None:
        raise InvalidArgumentError(
            "idempotency_key_invalid", "An Idempotency-Key has 1 to 64 visible characters."
        )
    if not has_field(message.DESCRIPTOR, IDEMPOTENCY_KEY):
        raise InvalidArgumentError("idempotency_key_unsupported", "This call takes no Idempotency-Key.")
    setattr(message, IDEMPOTENCY_KEY, matched[1])


def _apply_if_match(message: Message, values: Sequence[str]) -> None:
    if not values:
        return
    if not has_field(message.DESCRIPTOR, ETAG):
        raise InvalidArgumentError("if_match_unsupported", "This call takes no If-Match.")
    setattr(message, ETAG, wanted_etags(",".join(values)))
