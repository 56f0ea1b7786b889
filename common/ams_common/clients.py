"""Where the person is that a request comes from, and how that travels from the HTTP edge to the services.

The edge takes the address from the connection, or from X-Forwarded-For behind proxies that the deployment
trusts, and sends it along as gRPC metadata beside a voucher: its own service token. Services believe it
because of that, and nobody who reaches them otherwise can pretend to be somewhere else.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import unquote

from ams_common.context import request_context

ADDRESS = "x-client-address"
DEVICE = "x-client-device"
VOUCHER = "x-client-voucher"

# More trusted proxies than anybody has before a server: a setting beyond it is a mistake.
MOST_PROXIES = 10

_MAX_DEVICE_CHARACTERS = 200
# What one customer of a provider has for itself, and can take any address of.
_IPV6_NETWORK_BITS = 64


def client_address(peer: str, forwarded_for: Sequence[str], trusted_proxies: int) -> str:
    """The address that the outermost of `trusted_proxies` saw; "" for what is no address. Each of them has
    appended one to X-Forwarded-For (its fields in order); what stands left of those may be made up."""
    hops = [hop.strip() for field in forwarded_for for hop in field.split(",")] + [peer]
    wanted = hops[max(0, len(hops) - 1 - trusted_proxies)]
    return _normalised(wanted)


def client_network(address: str) -> str:
    """Whom limits count as one: an IPv4 address, or the /64 of an IPv6 one; "" for nowhere."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((str(parsed), _IPV6_NETWORK_BITS), strict=False))


def peer_address(peer: str) -> str:
    """The address of a gRPC peer: "ipv4:127.0.0.1:7001", "ipv6:%5B::1%5D:7001". "" for a socket file."""
    kind, _, rest = peer.partition(":")
    return _normalised(rest) if kind in ("ipv4", "ipv6") else ""


def clean_device(text: str) -> str:
    """A User-Agent as it may be kept, shown and sent as metadata: printable ASCII, of bounded length."""
    return "".join(c for c in text if " " <= c <= "~")[:_MAX_DEVICE_CHARACTERS].strip()


def forwarding_metadata() -> tuple[tuple[str, str], ...]:
    """What tells a service that is asked where the person is whose request is being served."""
    call = request_context.get()
    if call is None or not call.client.address:
        return ()
    client = call.client
    metadata = ((ADDRESS, client.address), (DEVICE, client.device), (VOUCHER, client.voucher))
    return tuple((name, text) for name, text in metadata if text)


def _normalised(text: str) -> str:
    """An address without port, brackets and zone, in one spelling; IPv4 in IPv6 as IPv4."""
    text = unquote(text).strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
