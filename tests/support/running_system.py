"""The whole system as `make run` starts it, as processes that a test may kill and start again."""

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from ams_common import ports, topics
from ams_common.processes import GRPC_SERVERS, PROCESSES
from ams_common.provision import OWNERS, provision
from ams_local.daemons import Daemon, stop_all
from ams_local.keyring import Keyring
from ams_local.rest import Mailbox, People, Rest
from ams_local.servers import Addresses
from ams_local.supervision import Program
from ams_local.system import ADMIN_EMAIL, System, free_ports, programs

__all__ = ["ADMIN_EMAIL", "BEHIND_THE_GATEWAY", "RunningSystem", "running"]

BEHIND_THE_GATEWAY = tuple(name for name in PROCESSES if name != "ams-gateway")
# The demo marketplace isn't needed here.
_LEFT_OUT = ("guide", "upstream")
_READY_S = 60


@dataclass(frozen=True)
class RunningSystem(System):
    """Where everything answers, and the processes themselves."""

    database_urls: Mapping[str, str]  # by schema, each for its own role
    programs: Mapping[str, Program]
    # Numbers of the caught mails that a test has read.
    read_mails: set[int] = field(default_factory=set)
    # Access tokens by address, and when they were given.
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    _daemons: dict[str, Daemon] = field(default_factory=dict)

    @property
    def rest_url(self) -> str:
        return self.url("ams-bff")

    @property
    def gateway_url(self) -> str:
        return self.url("ams-gateway")

    @property
    def topic_prefix(self) -> str:
        return str(self.programs["usage-svc"].environment["KAFKA_TOPIC_PREFIX"])

    def mailbox(self, http: aiohttp.ClientSession) -> Mailbox:
        return Mailbox(http, self.url("mail"), self.read_mails)

    def people(self, http: aiohttp.ClientSession) -> People:
        """Whoever signs in; what was given to one of them lately is kept."""
        return People(Rest(http, self.rest_url), self.mailbox(http), self.tokens)

    @contextmanager
    def another_bff(self, *away: str) -> Iterator[str]:
        """The address of a second BFF, which can't reach the services in `away` ("usage"). It knows the same
        sessions."""
        program, port = self.programs["ams-bff"], ports.free_port()
        url = f"http://127.0.0.1:{port}"
        own = {"BFF_LISTEN": f"127.0.0.1:{port}", "BFF_PUBLIC_URL": url, "BFF_METRICS_LISTEN": ""}
        nobody = {GRPC_SERVERS[schema].variable("ADDRESS"): "127.0.0.1:1" for schema in away}
        bff = Daemon(
            f"ams-bff at {port}",
            program.command,
            log=self.run_directory / f"bff-{port}.log",
            directory=self.run_directory,
            env={**program.environment, **own, **nobody},
        )
        try:
            bff.wait_until(lambda: ports.is_listening(port), _READY_S)
            yield url
        finally:
            bff.stop()

    def launch(self, name: str, **environment: str) -> None:
        """Start a process, without waiting for it; `environment` is what it is told besides."""
        program, directory = self.programs[name], self.run_directory
        log = directory / f"{name}.log"
        self._daemons[name] = Daemon(
            name, program.command, log=log, directory=directory, env={**program.environment, **environment}
        )

    def wait(self, name: str) -> None:
        """Until the process listens. The gateway's supervisor does at once: there, until a worker answers."""
        port = self.port(name)
        self._daemons[name].wait_until(lambda: ports.is_listening(port), _READY_S)
        if name == "ams-gateway":
            self._daemons[name].wait_until(lambda: _answers(self.readiness_url(name)), _READY_S)

    def start(self, name: str, **environment: str) -> None:
        """Start a process and wait until it listens."""
        self.launch(name, **environment)
        self.wait(name)

    def kill(self, name: str) -> None:
        """SIGKILL, as an out-of-memory kill would; returns when it is gone."""
        self._daemons[name].stop(signal.SIGKILL)

    def restart(self, name: str, **environment: str) -> None:
        """End a process with SIGTERM, and start it again."""
        self._daemons[name].stop()
        self.start(name, **environment)

    def stop(self) -> None:
        """Ends everything, all at once."""
        stop_all(self._daemons.values())

    def process_id(self, name: str) -> int:
        return self._daemons[name].process.pid

    def log(self, name: str) -> str:
        """All that the process has written."""
        return (self.run_directory / f"{name}.log").read_text(errors="replace")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def running(admin_database_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[RunningSystem]:
    """The system on a database and topics of its own, until the block ends."""
    database = f"system_{secrets.token_hex(6)}"
    # Roles are the whole server's: these are this database's own, so that systems don't disturb each other.
    owners = {schema: f"{database}_{role}" for schema, role in OWNERS.items()}
    urls = asyncio.run(provision(admin_database_url, database, owners=owners))
    directory = Path(tempfile.mkdtemp(prefix="ams-system-"))
    addresses = System(free_ports(), directory)
    servers = Addresses(admin_database_url, redis_url, kafka_bootstrap)
    prefix = f"{database}."
    asyncio.run(topics.create_missing(kafka_bootstrap, prefix))
    inherited = {"PATH": os.environ["PATH"], "KAFKA_TOPIC_PREFIX": prefix, "BFF_LIVE_BEAT_S": "0.5"}
    inherited["BFF_READ_DEADLINE_S"] = "10"  # the machine may be busy
    crew = programs(addresses, servers, urls, Keyring(directory / "secrets.json"), inherited)
    needed = {program.name: program for program in crew if program.name not in _LEFT_OUT}
    system = RunningSystem(addresses.ports, directory, urls, needed)
    try:
        for name in system.programs:
            system.launch(name)
        for name in system.programs:
            system.wait(name)
        yield system
    finally:
        system.stop()
        shutil.rmtree(directory, ignore_errors=True)
