"""Which requests are the gateway's, and which service and path they name: the same behind both entries."""

import re
from typing import NamedTuple

from ams_common.snapshots import service_snapshot_key

from ams_gateway.http import problems
from ams_gateway.http.key_leaks import holds_key, scrub_query
from ams_gateway.http.problems import Problem
from ams_gateway.http.targets import traverses_root

PATH = b"/api/consume"
_BELOW = PATH + b"/"
_SERVICE = re.compile(rb"[A-Za-z0-9-]{1,100}")
# RFC 9112 §3.2.2: a server takes the absolute form, whatever authority it names.
_ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


class NamedService(NamedTuple):
    """A service as a request names it, by slug or id in any case. `scope` is the path under which it lies
    for this consumer: /api/consume/weather."""

    name: str
    snapshot_name: str
    scope: bytes


class Route(NamedTuple):
    """What a request target says. `path` None: the base URL itself. `service` None: it names none.
    `is_transparent`: the target lies below the service's scope."""

    service: NamedService | None
    path: bytes | None
    query: bytes
    is_transparent: bool = False
    problem: Problem | None = None


def is_ours(target: bytes) -> bool:
    """By the path as it came: "/api%2Fconsume" is another path, here as for every other reader."""
    if not target.startswith(b"/"):
        target = _ORIGIN.sub(b"", target, count=1)
    return target.startswith(PATH) and target[len(PATH) : len(PATH) + 1] in (b"", b"/", b"?", b"#")


def read_target(method: str, target: bytes) -> Route:
    """The route of a target that is ours."""
    if not target.startswith(b"/"):
        target = _ORIGIN.sub(b"", target, count=1)
    path, _, query = target.partition(b"?")
    query = scrub_query(query) if query else query
    if b"#" in target or not target.isascii():
        return Route(None, None, query, problem=problems.TARGET_INVALID)
    if path != PATH:
        return _read_path(path, query)
    # A preflight asks for the POST that follows it, and names the service as that will: without any header.
    if method in ("POST", "OPTIONS"):
        return _read_query(query)
    return Route(None, None, query, problem=problems.METHOD_NOT_ALLOWED)


def _read_path(path: bytes, query: bytes) -> Route:
    """`/api/consume/{service}/{path}`: decoding the path would change what the merchant's API gets."""
    name, slash, rest = path[len(_BELOW) :].partition(b"/")
    if not name:
        return Route(None, None, query, True, problems.NOT_FOUND)
    below = slash + rest if slash else None
    if below is not None and traverses_root(below):
        return Route(None, None, query, True, problems.PATH_INVALID)
    if below is not None and holds_key(below):
        return Route(None, None, query, True, problems.KEY_IN_PATH)
    service = name_service(name)
    # As the consumer has spelled it: cookies and redirects lead to where it calls.
    spelled = service._replace(scope=_BELOW + name) if service is not None else None
    return Route(spelled, below, query, True)


def _read_query(query: bytes) -> Route:
    """`?service=` names the service where no header does. It is the gateway's and doesn't go on; every other
    parameter does, byte for byte."""
    if b"service=" not in query:
        return Route(None, None, query)
    parameters = query.split(b"&")
    named = [parameter[8:] for parameter in parameters if parameter.startswith(b"service=")]
    rest = b"&".join(parameter for parameter in parameters if not parameter.startswith(b"service="))
    if len(named) > 1:
        return Route(None, None, rest, problem=problems.SERVICE_CONFLICT)
    return Route(name_service(named[0]) if named else None, None, rest)


# Of a target that isn't ours.
NOWHERE = Route(None, None, b"", problem=problems.NOT_FOUND)


def name_service(name: bytes) -> NamedService | None:
    """What can't be a name is looked up as one that doesn't exist; empty counts as not given."""
    name = name.strip()
    if not name:
        return None
    known = name.decode("ascii").lower() if _SERVICE.fullmatch(name) else "-"
    return NamedService(known, service_snapshot_key(known), _BELOW + known.encode("ascii"))
