"""PostgreSQL, Redis and Kafka: those that the environment names, the rest started here."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ams_common import ports

from ams_local import paths
from ams_local.daemons import StartError
from ams_local.kafka import Kafka
from ams_local.postgres import Postgres
from ams_local.redis import Redis

ATTEMPTS = 3


class Server(Protocol):
    def launch(self) -> None: ...
    def wait(self) -> str: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Addresses:
    database_url: str
    redis_url: str
    kafka_bootstrap_servers: str

    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
        }


def _builders(directory: Path, throwaway: bool) -> dict[str, Callable[[], Server]]:
    """How to make each server, by the variable that replaces it; slowest first, for they start together."""

    def kafka() -> Server:
        port, controller_port = _port(9092, throwaway), _port(9093, throwaway)
        return Kafka(directory, port, controller_port, throwaway=throwaway)

    def postgres() -> Server:
        return Postgres(directory, _port(5433, throwaway), throwaway=throwaway)

    def redis() -> Server:
        return Redis(directory, _port(6380, throwaway), throwaway=throwaway)

    return {"KAFKA_BOOTSTRAP_SERVERS": kafka, "DATABASE_URL": postgres, "REDIS_URL": redis}


def _port(default: int, throwaway: bool) -> int:
    return ports.free_port() if throwaway else ports.default_or_free(default)


@contextmanager
def serving(
    *, throwaway: bool, environment: Mapping[str, str] = os.environ, directory: Path | None = None
) -> Iterator[Addresses]:
    """Servers for the block. Throwaway ones have fresh data, fast settings and leave nothing behind."""
    if throwaway:
        directory = paths.throwaway_directory()
    directory = directory or paths.run_directory()
    started: list[Server] = []
    with paths.held(directory / "lock"):
        try:
            yield _start(_builders(directory, throwaway), environment, started)
        finally:
            with undisturbed():
                for server in reversed(started):
                    server.stop()
                if throwaway:
                    shutil.rmtree(directory, ignore_errors=True)


def _start(
    builders: Mapping[str, Callable[[], Server]], environment: Mapping[str, str], started: list[Server]
) -> Addresses:
    """Launches all, then waits for each, so that the JVM starts while initdb runs."""
    addresses = {name: value for name in builders if (value := environment.get(name))}
    mine = {name: build() for name, build in builders.items() if name not in addresses}
    for server in mine.values():
        started.append(server)
        server.launch()
    for name, server in mine.items():
        addresses[name] = _wait(server, builders[name], started)
    return Addresses(addresses["DATABASE_URL"], addresses["REDIS_URL"], addresses["KAFKA_BOOTSTRAP_SERVERS"])


def _wait(server: Server, build: Callable[[], Server], started: list[Server]) -> str:
    """Waits for the server; another one takes its place if its port was taken in the meantime."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return server.wait()
        except StartError:
            if attempt == ATTEMPTS:
                raise
        server.stop()
        started.remove(server)
        server = build()
        started.append(server)
        server.launch()
    raise AssertionError("unreachable")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignores SIGINT and SIGTERM: a second Ctrl-C must not leave half of the servers running."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
