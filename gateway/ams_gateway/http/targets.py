"""Where a service's requests go: its base URL taken apart once, and the consumer's path put onto it."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes, urlsplit

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_PATH = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*")
# Without one of these no reading of a path can climb: most paths are done with here.
_SUSPECT = re.compile(rb"\.\.|%2[eE]|%2[fF]|%5[cC]|\\")


# Equal only to itself, so that looking it up on each request is cheap: see origin_of.
@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where connections lead to; requests of all services there share them."""

    host: str
    port: int
    tls: bool


@lru_cache(20_000)
def origin_of(host: str, port: int, tls: bool) -> Origin:
    """The one object for this origin."""
    return Origin(host, port, tls)


@dataclass(frozen=True, slots=True)
class Target:
    origin: Origin
    # The Host header's value.
    authority: bytes
    # Without a trailing slash; b"" for the root.
    path: bytes
    # The base URL's own request target when the consumer names no path, never empty.
    root: bytes
    query: bytes

    def request_target(self, path: bytes | None, query: bytes) -> bytes:
        """`path` starts with a slash and has passed `traverses_root`; None means the base URL itself."""
        target = self.root if path is None else self.path + path
        if self.query:
            query = self.query + b"&" + query if query else self.query
        return target + b"?" + query if query else target


def parse_base_url(text: str) -> Target | None:
    """None for what isn't an absolute http or https URL that can be put on the wire as it is."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
        if host is not None and ":" not in host:
            host = host.encode("idna").decode("ascii")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or port == 0:
        return None
    if (
        not _HOST.fullmatch(host)
        or not _PATH.fullmatch(parts.path)
        or not re.fullmatch(r"[!-~]*", parts.query)
    ):
        return None
    tls = parts.scheme == "https"
    origin = origin_of(host, port or (443 if tls else 80), tls)
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port is None else f"{shown}:{port}"
    path = parts.path.rstrip("/").encode("ascii")
    root = parts.path.encode("ascii") or b"/"
    return Target(origin, authority.encode("ascii"), path, root, parts.query.encode("ascii"))


def traverses_root(path: bytes) -> bool:
    """Whether any server's reading of the path would climb above its start.

    Servers differ: some decode %2F and %5C before they split, some merge empty segments, some strip
    `;parameters`. So both splittings are walked, and empty segments never count as a level.
    """
    if not _SUSPECT.search(path):
        return False
    decoded = unquote_to_bytes(path)
    coarse = [unquote_to_bytes(segment) for segment in path.split(b"/")]
    fine = decoded.replace(b"\\", b"/").split(b"/")
    return _climbs(coarse) or _climbs(fine)


def _climbs(segments: list[bytes]) -> bool:
    depth = 0
    for segment in segments:
        name = segment.split(b";", 1)[0]
        if name == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif name not in (b"", b"."):
            depth += 1
    return False
