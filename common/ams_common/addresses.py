"""Addresses that nothing which strangers have named may lead to: merchants' APIs, webhooks (SSRF)."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_forbidden(text: str) -> bool:
    """Private, loopback, link-local, shared, multicast, unspecified or reserved; also when such an IPv4
    address is wrapped into an IPv6 one (mapped, 6to4, Teredo, NAT64)."""
    address: Address = ipaddress.ip_address(text.split("%", 1)[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local or any(_is_closed(inner) for inner in _embedded(address)):
            return True
        if address.ipv4_mapped or address in _NAT64:
            return False
    return _is_closed(address)


def _is_closed(address: Address) -> bool:
    return (
        not address.is_global
        or address.is_private
        or address.is_multicast
        or address.is_reserved
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )


def _embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or int(address) >> 32 == 0:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [inner for inner in found if inner is not None]
