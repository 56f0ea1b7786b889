"""Cookies between one consumer and one merchant, on a host that all merchants share with AMS's own web UI.

A cookie lives inside the service's own path behind the gateway, on this host alone, so that browsers send it
to nobody else. What is passed on of a request is what the service may have set. `ours` are the names of AMS's
own cookies, which are on the same host with `Path=/` and so come along with every call from a browser.

Parsed as browsers do (RFC 6265bis §5.6): by the first `;` and `=`, without any regard for quotes, since what
they store is what counts.
"""

import re

from ams_gateway.http.key_leaks import holds_key
from ams_gateway.http.targets import traverses_root

_WHITESPACE = b" \t"
# Browsers ignore a cookie that has one of these anywhere.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Browsers ignore a longer cookie, and a longer attribute.
_MAX_COOKIE_BYTES = 4096
_MAX_ATTRIBUTE_BYTES = 1024
# All but Path, which is written anew, and Domain, without which a cookie stays on this host. An attribute
# that isn't known is left out: it might widen where the cookie goes.
_KEPT_ATTRIBUTES = frozenset((b"expires", b"max-age", b"secure", b"httponly", b"samesite", b"partitioned"))


def rewrite_set_cookie(
    value: bytes, *, scope: bytes, base_path: bytes, ours: frozenset[bytes]
) -> bytes | None:
    """A Set-Cookie field's value with the cookie kept inside `scope`, the service's path as the consumer
    names it (`/api/consume/<service>`). `base_path` is the upstream's (`Target.path`): what of the cookie's
    own path is below it stays below `scope`. None: the cookie goes no further.
    """
    if _CONTROL.search(value):
        return None
    pair, *attributes = value.split(b";")
    name, equals, content = pair.partition(b"=")
    name, content = name.strip(_WHITESPACE), content.strip(_WHITESPACE)
    # Browsers send a cookie without a name as its bare content, which may read "ams_session=…".
    if not equals or not name or name in ours or len(name) + len(content) > _MAX_COOKIE_BYTES:
        return None
    if _is_bound_to_host(name):
        return None
    kept = [b"%b=%b" % (name, content)]
    path = b""
    for attribute in attributes:
        attribute_name, _, attribute_value = attribute.partition(b"=")
        attribute_name = attribute_name.strip(_WHITESPACE).lower()
        attribute_value = attribute_value.strip(_WHITESPACE)
        if len(attribute_value) > _MAX_ATTRIBUTE_BYTES:
            continue
        if attribute_name == b"path":
            path = attribute_value
        elif attribute_name in _KEPT_ATTRIBUTES:
            kept.append(attribute.strip(_WHITESPACE))
    # Always said: the path that a browser supplies for `/api/consume/<service>` would be all services'.
    kept.append(b"Path=" + scope + _below(base_path, path))
    return b"; ".join(kept)


def _below(base_path: bytes, path: bytes) -> bytes:
    """What of a cookie's path lies below the base path. b"" where it lies elsewhere or isn't a path: the
    cookie is then for the whole service, which is the nearest to what was meant."""
    below = path[len(base_path) :]
    if below == b"/" or not path.startswith(base_path + b"/") or traverses_root(below):
        return b""
    return below


def filter_cookie(value: bytes, ours: frozenset[bytes]) -> bytes | None:
    """What of a request's Cookie field a service may see: neither AMS's own cookies nor API keys. None when
    nothing is left.

    `__Host-` cookies go, for no service's is ever kept. `__Secure-` ones stay: they may be the service's.
    """
    kept = []
    leaks = holds_key(value)
    for pair in value.split(b";"):
        name, equals, content = pair.partition(b"=")
        name = name.strip(_WHITESPACE)
        if not equals or not name or name in ours or _is_bound_to_host(name) or (leaks and holds_key(pair)):
            continue
        kept.append(b"%b=%b" % (name, content.strip(_WHITESPACE)))
    return b"; ".join(kept) or None


def _is_bound_to_host(name: bytes) -> bool:
    """Browsers keep such a cookie only with `Path=/`, and so no merchant's can be."""
    return name[:7].lower() == b"__host-"
