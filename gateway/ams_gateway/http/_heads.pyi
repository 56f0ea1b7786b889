from collections.abc import Mapping

from ams_gateway.http.heads import Parts

def cut(
    head: bytes, kinds: Mapping[bytes, int], suspects: tuple[bytes, ...], suspect_bytes: int, /
) -> Parts | None: ...
def read_trace(value: bytes, /) -> bytes | None: ...
