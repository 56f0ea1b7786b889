from collections.abc import Mapping

from ams_gateway.http.heads import Parts

def cut(
    head: bytes, kinds: Mapping[bytes, int], suspects: tuple[bytes, ...], suspect_bytes: int, /
) -> Parts | None: ...
def is_traceparent(value: bytes, /) -> bool: ...
