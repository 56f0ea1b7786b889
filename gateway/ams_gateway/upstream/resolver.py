"""The cached resolution of host names, and that what they resolve to may be connected to (SSRF)."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ams_common.addresses import is_forbidden

from ams_gateway.upstream.lookup_slots import LookupLimits, LookupSlots, NoSlotError

log = logging.getLogger(__name__)

# May block, in a thread of its own. Raises OSError.
LookUp = Callable[[str], list[str]]


class AddressForbiddenError(Exception):
    """The host resolves to an address that merchants' APIs can't have."""


class AddressUnknownError(Exception):
    """The host couldn't be resolved."""


def look_up_host(host: str) -> list[str]:
    """Every address of a name. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("not a name that can be looked up") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _literal(host: str) -> list[str]:
    """The address that the host is, if it is one: there is nothing to look up."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return []


def _domain_of(host: str) -> str:
    return ".".join(host.rsplit(".", 2)[-2:])


async def _in_thread(look_up: LookUp, host: str) -> list[str]:
    """What `look_up` gives. A daemon thread, for a look-up can't be ended, and must not keep the process."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def run() -> None:
        try:
            addresses = look_up(host)
        except Exception as error:
            settle = partial(_settle, found, None, error)
        else:
            settle = partial(_settle, found, addresses, None)
        # Closed: the process is ending, and nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)

    try:
        threading.Thread(target=run, name="look-up", daemon=True).start()
    except RuntimeError as error:
        raise OSError("no thread for a look-up") from error
    return await found


def _settle(found: asyncio.Future[list[str]], addresses: list[str] | None, error: Exception | None) -> None:
    if found.done():
        return
    if error is not None:
        found.set_exception(error)
    else:
        found.set_result(addresses or [])


@dataclass(frozen=True, slots=True)
class ResolverLimits:
    # So long addresses are used without a look at their name.
    ttl_s: float = 30.0
    # So long they are used while they are looked up anew.
    stale_s: float = 120.0
    # So long they are used when the name can't be looked up.
    max_stale_s: float = 600.0
    # How long an asker waits; the look-up itself goes on, and is of use to the next.
    timeout_s: float = 2.0
    # How long nobody looks again for what couldn't be looked up.
    negative_s: float = 5.0
    max_hosts: int = 10_000


@dataclass(slots=True)
class _Resolved:
    addresses: list[str]
    at_s: float


@dataclass(slots=True)
class _Failed:
    error: type[Exception]
    until_s: float


class Resolver:
    """Resolves and checks. The caller connects to the checked address itself, so that a name which
    answers differently the next time (DNS rebinding) gains nothing.

    Each look-up has a thread of its own: the loop's default ones would all hang at one dead name server. How
    many there are, and whose, LookupSlots says.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        look_up: LookUp = look_up_host,
        limits: ResolverLimits | None = None,
        lookup_limits: LookupLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._allow_private = allow_private
        self._limits = limits or ResolverLimits()
        self._slots = LookupSlots(lookup_limits or LookupLimits())
        self._clock = clock
        self._known: OrderedDict[str, _Resolved] = OrderedDict()
        self._failed: OrderedDict[str, _Failed] = OrderedDict()
        self._in_flight: dict[str, asyncio.Task[list[str]]] = {}

    def cached(self, host: str, owner_id: str = "") -> list[str] | None:
        """The checked addresses that may be used at once. They are looked up anew meanwhile when it is time.
        `owner_id`: as in `resolve`."""
        known = self._known.get(host)
        if known is None:
            return None
        now_s, limits = self._clock(), self._limits
        age_s = now_s - known.at_s
        if age_s <= limits.ttl_s:
            return known.addresses
        failed = self._failed.get(host)
        if failed is not None and now_s < failed.until_s:
            return known.addresses if age_s <= limits.max_stale_s else None
        if age_s > limits.stale_s:
            return None
        if host not in self._in_flight:
            self._start(host, owner_id)
        return known.addresses

    async def resolve(self, host: str, owner_id: str = "") -> list[str]:
        """Checked addresses, within `timeout_s`. Raises AddressForbiddenError when any of them may not be
        used, and AddressUnknownError.

        `owner_id`: whoever chose the name, a merchant, whose names share few threads. Without it those of one
        domain do.
        """
        addresses = self.cached(host, owner_id)
        if addresses is not None:
            return addresses
        failed = self._failed.get(host)
        if failed is not None and self._clock() < failed.until_s:
            raise failed.error(host)
        load = self._in_flight.get(host) or self._start(host, owner_id)
        done, _ = await asyncio.wait((load,), timeout=self._limits.timeout_s)
        if not done:
            # Until its thread is back nobody else waits for it.
            self._fail(host, AddressUnknownError)
            return self._stale(host)
        return load.result()

    def _start(self, host: str, owner_id: str) -> asyncio.Task[list[str]]:
        load = asyncio.create_task(self._load(host, owner_id or _domain_of(host)))
        self._in_flight[host] = load
        load.add_done_callback(lambda done: self._end_load(host, done))
        return load

    def _end_load(self, host: str, load: asyncio.Task[list[str]]) -> None:
        self._in_flight.pop(host, None)
        error = None if load.cancelled() else load.exception()
        if error is not None and not isinstance(error, AddressForbiddenError | AddressUnknownError):
            log.error("a name could not be looked up", exc_info=error)

    async def _load(self, host: str, owner_id: str) -> list[str]:
        try:
            addresses = _literal(host) or await self._find(host, owner_id)
        except (OSError, NoSlotError):
            self._fail(host, AddressUnknownError)
            return self._stale(host)
        if not self._allow_private and any(is_forbidden(address) for address in addresses):
            self._known.pop(host, None)
            self._fail(host, AddressForbiddenError)
            raise AddressForbiddenError(host)
        self._failed.pop(host, None)
        self._known[host] = _Resolved(addresses, self._clock())
        self._known.move_to_end(host)
        if len(self._known) > self._limits.max_hosts:
            self._known.popitem(last=False)
        return addresses

    async def _find(self, host: str, owner_id: str) -> list[str]:
        async with self._slots.of(owner_id):
            return await _in_thread(self._look_up, host)

    def _fail(self, host: str, error: type[Exception]) -> None:
        self._failed[host] = _Failed(error, self._clock() + self._limits.negative_s)
        self._failed.move_to_end(host)
        if len(self._failed) > self._limits.max_hosts:
            self._failed.popitem(last=False)

    def _stale(self, host: str) -> list[str]:
        """What is known of a name that can't be looked up now. Raises AddressUnknownError."""
        known = self._known.get(host)
        if known is None or self._clock() - known.at_s > self._limits.max_stale_s:
            raise AddressUnknownError(host)
        return known.addresses
