"""Addresses in an upstream's answer, as the consumer has to follow them: through the gateway.

Base URLs aren't public, and a consumer that went to the merchant directly would take its API key along (curl
keeps `X-API-Key` over redirects). So `Location` and `Content-Location` that lie below the base URL become
paths behind the gateway, and those that name the merchant's host in any other way are taken out: such a
resource can't be reached through AMS, and the merchant should widen its base URL. Other hosts pass.

References are resolved by RFC 3986 §5.2 against the URL that the upstream was asked for. What clients read in
different ways goes: one with a backslash is a path to some and a host to others, and so is `http:` or nothing
before more or fewer slashes than two. Tabs are ignored and `%2e` is a dot, as browsers have it.
"""

import re
from urllib.parse import unquote_to_bytes

from ams_gateway.http.targets import Target, traverses_root

# At the ends, and anywhere.
_STRIPPED = bytes(range(33))
_IGNORED = b"\t\r\n"

_REFERENCE = re.compile(
    rb"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?P<slashes>/*)(?P<rest>[^?#]*)"
    rb"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_DOT = re.compile(rb"%2e", re.IGNORECASE)
# A comma inside quotes is a parameter's, outside it ends the link. An end of quotes that is missing is the
# field's end, and nothing is tried twice: else an upstream could have us search for seconds.
_LINK = re.compile(
    rb'<(?P<target>[^<>]*+)>(?P<parameters>(?:[^,"]|"(?:[^"\\]|\\.?)*+(?:"|\Z))*+)',
    re.DOTALL,
)
_MAX_HOST_LENGTH = 253
_LINK_SPACE = b" \t"
_DEFAULT_PORTS = {b"http": 80, b"https": 443}


def rewrite_location(
    value: bytes, *, base: Target, scope: bytes, requested_path: bytes | None
) -> bytes | None:
    """The value of a Location or Content-Location field for the consumer; None: the field goes.

    `scope` is the service's path as the consumer names it (`/api/consume/<service>`), `requested_path` what
    the consumer has put behind it, None for the base URL itself (as in `POST /api/consume`).
    """
    value = value.strip(_STRIPPED).translate(None, _IGNORED)
    reference = _REFERENCE.fullmatch(value)
    assert reference is not None  # every part may be empty
    scheme, slashes, rest = reference["scheme"], reference["slashes"], reference["rest"]
    own_scheme = b"https" if base.origin.tls else b"http"
    if scheme is not None:
        scheme = scheme.lower()
        if scheme not in _DEFAULT_PORTS and (len(slashes) != 2 or not rest):
            # "mailto:…", "app:/callback", "app:///": they name no host.
            return value
    if b"\\" in rest or len(slashes) > 2 or (scheme is not None and slashes != b"//"):
        return None
    asked = base.root if requested_path is None else base.path + requested_path
    if slashes == b"//":
        authority, slash, path = rest.partition(b"/")
        host, port = _split_authority(authority, scheme or own_scheme)
        if not host:
            return None
        if host != base.origin.host.rstrip("."):
            return value if scheme is not None else own_scheme + b":" + value
        if (scheme or own_scheme) != own_scheme or port != base.origin.port:
            return None
        path = slash + path
    elif slashes or rest:
        path = b"/" + rest if slashes else asked[: asked.rfind(b"/") + 1] + rest
    elif reference["query"] is None:
        # The same document: the consumer's own URL of it, whatever that is.
        return value
    else:
        path = asked
    below = _below(base, path)
    if below is None:
        return None
    query, fragment = _without_own(reference["query"], base), reference["fragment"]
    return (
        scope
        + below
        + (b"" if query is None else b"?" + query)
        + (b"" if fragment is None else b"#" + fragment)
    )


def rewrite_link(value: bytes, *, base: Target, scope: bytes, requested_path: bytes | None) -> bytes | None:
    """The value of a Link field (RFC 8288), each link's target as `rewrite_location` has it. Links that can't
    be reached are left out; None when none is left. Lists are paged by such fields, so they would show the
    base URL more often than redirects do."""
    kept = []
    for link in _LINK.finditer(value):
        location = rewrite_location(link["target"], base=base, scope=scope, requested_path=requested_path)
        if location is not None:
            kept.append(b"<%b>%b" % (location, link["parameters"].rstrip(_LINK_SPACE)))
    return b", ".join(kept) or None


def _split_authority(authority: bytes, scheme: bytes) -> tuple[str, int | None]:
    """The host in the form of `Origin.host`, and the port; None for one that is no number. User information
    is dropped."""
    authority = unquote_to_bytes(authority.rpartition(b"@")[2]).lower()
    # In brackets colons are an IPv6 address's; elsewhere the first ends the host.
    bracketed, bracket, after = authority.rpartition(b"]")
    host, _, port = after.partition(b":")
    host = bracketed + bracket + host
    if port:
        return _host(host), int(port) if port.isdigit() and len(port) <= 5 else None
    return _host(host), _DEFAULT_PORTS.get(scheme)


def _host(host: bytes) -> str:
    text = host.strip(b"[]").rstrip(b".").decode("utf-8", "replace")
    # No name is longer, and the codec's time grows with the square of the length.
    if text.isascii() or len(text) > _MAX_HOST_LENGTH:
        return text
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        return text


def _below(base: Target, path: bytes) -> bytes | None:
    """What of a path lies below the base URL's own, None where it doesn't."""
    path = _remove_dot_segments(path)
    # With or without its last slash it is the base URL.
    if path == base.path:
        return b""
    if not path.startswith(base.path + b"/"):
        return None
    below = path[len(base.path) :]
    # As the gateway would refuse it, so that no browser resolves it to another path of AMS.
    return None if traverses_root(below) else below


def _remove_dot_segments(path: bytes) -> bytes:
    """RFC 3986 §5.2.4, with a dot's encoded form as a dot."""
    if b"." not in path and b"%2" not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments[1:]:
        dots = _DOT.sub(b".", segment)
        if dots == b"..":
            if kept:
                kept.pop()
        elif dots != b".":
            kept.append(segment)
    # "/a/.." is "/" as "/a/../" is.
    if _DOT.sub(b".", segments[-1]) in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def _without_own(query: bytes | None, base: Target) -> bytes | None:
    """The base URL's parameters are the merchant's, may be secret, and are added again to the next call."""
    if not query or not base.query:
        return query
    own = base.query.split(b"&")
    kept = [parameter for parameter in query.split(b"&") if parameter not in own]
    return b"&".join(kept) if kept else None
