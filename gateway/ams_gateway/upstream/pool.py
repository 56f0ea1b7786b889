"""Connections to merchants' APIs: kept alive, bounded per origin and in all, swept for deadlines."""

import asyncio
import logging
import ssl
from collections import defaultdict
from dataclasses import dataclass

from ams_gateway.http.responses import ResponseParser
from ams_gateway.http.targets import Origin
from ams_gateway.upstream.connection import UpstreamConnection

log = logging.getLogger(__name__)


class UnreachableError(Exception):
    """No connection could be opened."""


class BusyError(Exception):
    """There are as many connections as there may be, to the origin or in all."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    # Whoever is called has a lower cap of its own (admission.py); this holds if that is not asked.
    max_per_origin: int = 10_000
    # As many as there are calls at most: then one of them is idle whenever a call needs another.
    max_in_all: int = 100_000
    # For all addresses of a host together.
    connect_timeout_s: float = 5.0
    # Of a host's addresses so many are tried.
    max_addresses: int = 4
    # Below what common servers allow (5 s), so that they seldom close a connection just as it is used.
    idle_s: float = 4.0
    max_head_bytes: int = 64 * 1024


class Pool:
    def __init__(self, limits: PoolLimits, tls: ssl.SSLContext | None = None) -> None:
        self._limits = limits
        self._tls = tls or ssl.create_default_context()
        self._idle: defaultdict[Origin, list[UpstreamConnection]] = defaultdict(list)
        self._open: defaultdict[Origin, set[UpstreamConnection]] = defaultdict(set)
        self._opening: defaultdict[Origin, int] = defaultdict(int)
        # Open, or being opened.
        self._held = 0
        self._parser = ResponseParser()
        self._clock = asyncio.get_running_loop().time
        self.opened = 0

    def close(self) -> None:
        for connections in list(self._open.values()):
            for connection in list(connections):
                connection.abort()

    def reuse(self, origin: Origin) -> UpstreamConnection | None:
        """The idle connection used last, which is the least likely to be closed; None without one."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_open:
                return connection
        return None

    async def connect(self, origin: Origin, addresses: list[str], owner_id: str = "") -> UpstreamConnection:
        """A new connection to the first of the checked addresses that takes one. A dead address leaves the
        others their share of the time. `owner_id`: whom it is counted for, who has as many idle ones as the
        others leave room for."""
        if len(self._open[origin]) + self._opening[origin] >= self._limits.max_per_origin:
            raise BusyError
        if self._held >= self._limits.max_in_all:
            self._make_room()
            if self._held >= self._limits.max_in_all:
                raise BusyError
        self._held += 1
        try:
            if self._held == self._limits.max_in_all:
                # What was closed gives its descriptor back when its callbacks have run.
                await asyncio.sleep(0)
            connection = await self._open_one(origin, addresses)
        except BaseException:
            self._held -= 1
            raise
        connection.owner_id = owner_id
        return connection

    async def _open_one(self, origin: Origin, addresses: list[str]) -> UpstreamConnection:
        self._opening[origin] += 1
        tried = addresses[: self._limits.max_addresses]
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._limits.connect_timeout_s
        try:
            for number, address in enumerate(tried):
                timeout_s = (deadline_s - loop.time()) / (len(tried) - number)
                try:
                    return await self._connect(origin, address, timeout_s)
                except (OSError, TimeoutError, ssl.SSLError) as error:
                    log.info("upstream %s:%s: %s", origin.host, origin.port, type(error).__name__)
        finally:
            self._opening[origin] -= 1
            self._drop_unused(origin)
        raise UnreachableError

    async def _connect(self, origin: Origin, address: str, timeout_s: float) -> UpstreamConnection:
        loop = asyncio.get_running_loop()

        def make() -> UpstreamConnection:
            return UpstreamConnection(
                self._parser,
                max_head_bytes=self._limits.max_head_bytes,
                on_lost=lambda connection: self._lose(origin, connection),
            )

        async with asyncio.timeout(timeout_s):
            _, connection = await loop.create_connection(
                make,
                address,
                origin.port,
                ssl=self._tls if origin.tls else None,
                server_hostname=origin.host if origin.tls else None,
            )
        if connection.transport is None:
            raise ConnectionResetError  # lost again before anybody could use it
        self.opened += 1
        self._open[origin].add(connection)
        return connection

    def release(self, origin: Origin, connection: UpstreamConnection) -> None:
        """After an exchange: kept for the next one if it ended cleanly, else closed."""
        if connection.release(self._clock()):
            self._idle[origin].append(connection)
        elif connection.is_open:
            # One that is closing may have something left to send: `sweep` ends it if that isn't taken.
            connection.abort()

    def _make_room(self) -> None:
        """Close half of the unused connections of whoever has the most, those that have been idle longest."""
        by_owner: defaultdict[str, list[tuple[Origin, UpstreamConnection]]] = defaultdict(list)
        for origin, connections in self._open.items():
            for connection in connections:
                if not connection.is_busy:
                    by_owner[connection.owner_id].append((origin, connection))
        most = max(by_owner.values(), key=len, default=[])
        most.sort(key=lambda unused: unused[1].idle_since_s)
        for origin, connection in most[: -(-len(most) // 2)]:
            self._lose(origin, connection)
            connection.abort()

    def _lose(self, origin: Origin, connection: UpstreamConnection) -> None:
        opened = self._open.get(origin)
        if opened is None or connection not in opened:
            return  # it makes room already, or was never whole
        opened.discard(connection)
        self._held -= 1
        idle = self._idle.get(origin)
        if idle and connection in idle:
            idle.remove(connection)
        self._drop_unused(origin)

    def _drop_unused(self, origin: Origin) -> None:
        """Without it the tables would grow with every origin that was ever called."""
        if not self._open.get(origin) and not self._opening.get(origin):
            for table in (self._open, self._opening, self._idle):
                table.pop(origin, None)

    def sweep(self, now_s: float) -> None:
        """Close the connections that have been idle for too long."""
        for connections in list(self._open.values()):
            for connection in list(connections):
                if not connection.is_busy and now_s - connection.idle_since_s > self._limits.idle_s:
                    connection.abort()
