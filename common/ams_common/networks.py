"""Networks that calls may come from, as the owner of a key names them (CIDR). Pure."""

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_network(text: str) -> Network:
    """A network, or a single address, in either family. Raises ValueError with the end of a sentence."""
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise ValueError(_why_not(text, error)) from None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        # Clients' addresses are compared as IPv4 then, and it would never hold one.
        raise ValueError("is an IPv4 network in IPv6 form: write it as IPv4")
    return network


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether a client's address lies in one of the networks. `address`: as `clients.client_address` gives
    it; "" lies in none."""
    if not address:
        return False
    client = ipaddress.ip_address(address)
    return any(client in network for network in networks)


def _why_not(text: str, error: ValueError) -> str:
    try:
        wider = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return "must be an address, or a network such as 192.0.2.0/24 or 2001:db8::/32"
    return f"has bits beyond its prefix: the network is {wider}"
