"""Which addresses the gateway may connect to (SSRF), and the cached resolution of host names."""

import asyncio
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

LookUp = Callable[[str], Awaitable[list[str]]]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressForbiddenError(Exception):
    """The host resolves to an address that merchants' APIs can't have."""


class AddressUnknownError(Exception):
    """The host couldn't be resolved."""


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


async def look_up_host(host: str) -> list[str]:
    """Every address of a name, or the address itself. Raises OSError."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(slots=True)
class _Resolved:
    addresses: list[str]
    at_s: float


class Resolver:
    """Resolves and checks. The caller connects to the checked address itself, so that a name which
    answers differently the next time (DNS rebinding) gains nothing."""

    def __init__(
        self,
        *,
        allow_private: bool,
        look_up: LookUp = look_up_host,
        ttl_s: float = 30.0,
        max_stale_s: float = 600.0,
    ) -> None:
        self._look_up = look_up
        self._allow_private = allow_private
        self._ttl_s = ttl_s
        self._max_stale_s = max_stale_s
        self._known: OrderedDict[str, _Resolved] = OrderedDict()
        self._in_flight: dict[str, asyncio.Task[list[str]]] = {}

    def cached(self, host: str) -> list[str] | None:
        """The checked addresses when they are fresh, without any I/O."""
        entry = self._known.get(host)
        if entry is None or time.monotonic() - entry.at_s > self._ttl_s:
            return None
        return entry.addresses

    async def resolve(self, host: str) -> list[str]:
        """Checked addresses. Raises AddressForbiddenError when any of them may not be used."""
        fresh = self.cached(host)
        if fresh is not None:
            return fresh
        load = self._in_flight.get(host)
        if load is None:
            load = asyncio.create_task(self._load(host))
            self._in_flight[host] = load
            load.add_done_callback(lambda done: self._end_load(host, done))
        return await asyncio.shield(load)

    def _end_load(self, host: str, load: asyncio.Task[list[str]]) -> None:
        self._in_flight.pop(host, None)
        if not load.cancelled():
            load.exception()  # Looked at, or asyncio logs it when nobody waited for it.

    async def _load(self, host: str) -> list[str]:
        try:
            addresses = await self._look_up(host)
        except OSError as error:
            known = self._known.get(host)
            if known is None or time.monotonic() - known.at_s > self._max_stale_s:
                raise AddressUnknownError(host) from error
            return known.addresses
        if not self._allow_private and any(is_forbidden(address) for address in addresses):
            self._known.pop(host, None)
            raise AddressForbiddenError(host)
        self._known[host] = _Resolved(addresses, time.monotonic())
        while len(self._known) > 10_000:
            self._known.popitem(last=False)
        return addresses
