"""Which requests are the gateway's, and what they ask for: the same behind both entries."""

import re
from functools import lru_cache

from ams_gateway.http import problems
from ams_gateway.http.headers import Request, RequestHeaders
from ams_gateway.http.problems import Problem
from ams_gateway.http.targets import traverses_root

PATH = b"/api/consume"
_BELOW = PATH + b"/"
_SERVICE = re.compile(rb"[A-Za-z0-9-]{1,100}")
_COMMON = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_METHOD = re.compile(r"[A-Z]+(-[A-Z]+)*")


def is_ours(raw_path: bytes) -> bool:
    """By the raw path: "/api%2Fconsume" is another path, here as for every other reader."""
    return raw_path == PATH or raw_path.startswith(_BELOW)


def read_request(
    method: str, http_version: str, raw_path: bytes, query: bytes, headers: RequestHeaders | Problem
) -> Request | Problem:
    """`raw_path` is ours; `headers` is what `parse_headers` has made of the headers."""
    if http_version != "1.1":
        return problems.VERSION_UNSUPPORTED
    if method not in _COMMON and (method in ("CONNECT", "TRACE") or not _METHOD.fullmatch(method)):
        return problems.METHOD_UNSUPPORTED
    if isinstance(headers, Problem):
        return headers
    if raw_path != PATH:
        return _read_path(method, raw_path, query, headers)
    if method != "POST":
        return problems.METHOD_NOT_ALLOWED
    service = _service(headers.service) if headers.service is not None else None
    return Request(method, service, None, query, headers)


def _read_path(method: str, raw_path: bytes, query: bytes, headers: RequestHeaders) -> Request | Problem:
    """`/api/consume/{service}/{path}`: decoding the path would change what the merchant's API gets."""
    service, slash, rest = raw_path[len(_BELOW) :].partition(b"/")
    if not service:
        return problems.NOT_FOUND
    path = slash + rest if slash else None
    if path is not None and traverses_root(path):
        return problems.PATH_INVALID
    return Request(method, _service(service), path, query, headers)


@lru_cache(10_000)
def _service(name: bytes) -> str | None:
    """What can't be a name is looked up as one that doesn't exist; empty counts as not given."""
    name = name.strip()
    if not name:
        return None
    return name.decode("ascii").lower() if _SERVICE.fullmatch(name) else "-"
