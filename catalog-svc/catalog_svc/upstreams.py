"""Base URLs that name a host of the operator's own network.

Only what can be seen in the URL itself: where a name leads is looked up and refused by the gateway,
at every connection: a name may lead elsewhere by then.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from ams_common.errors import FieldViolation, InvalidArgumentError

_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_base_url(url: str, *, allow_private: bool) -> None:
    """Raises InvalidArgumentError base_url_invalid or base_url_private. "" is no URL, and is let through."""
    if not url:
        return
    parts = urlsplit(url)
    if parts.query or url.endswith("?"):
        raise _invalid("base_url_invalid", "must not have a query")
    if not allow_private and names_private_host(parts.hostname or ""):
        raise _invalid("base_url_private", "must not name a private or loopback host")


def names_private_host(host: str) -> bool:
    """Whether `host` is a local name or the literal of an address that isn't public."""
    name = host.lower().rstrip(".")
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    address = _literal(name)
    return address is not None and any(_is_private(form) for form in _forms(address))


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        # The old spellings that resolvers still take: "127.1", "2130706433", "0x7f.0.0.1".
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _forms(address: _Address) -> list[_Address]:
    """The address itself and any IPv4 address wrapped into it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    return [address, *([address.sixtofour] if address.sixtofour is not None else [])]


def _is_private(address: _Address) -> bool:
    # Python calls multicast addresses global.
    return not address.is_global or address.is_multicast


def _invalid(code: str, description: str) -> InvalidArgumentError:
    sentence = f"The base URL {description}."
    return InvalidArgumentError(code, sentence, [FieldViolation("baseUrl", description)])
