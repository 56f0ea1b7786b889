"""The whole system as processes, which a test may kill and start again."""

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ams_common.provision import OWNERS, provision
from ams_local import ports
from ams_local.processes import Daemon

ADMIN_EMAIL = "admin@example.com"
SERVICES = ("identity", "catalog", "keys", "usage", "billing")
_READY_S = 60


@dataclass(slots=True)
class World:
    """Everything that runs, and where its doors are."""

    database_urls: Mapping[str, str]  # by schema, each for its own role
    directory: Path
    environment: dict[str, str]
    listening: dict[str, int] = field(default_factory=dict)
    _daemons: dict[str, Daemon] = field(default_factory=dict)

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.listening['bff']}"

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.listening['gateway']}"

    @property
    def mail_url(self) -> str:
        return f"http://127.0.0.1:{self.listening['mail']}"

    def start(self, name: str) -> None:
        """Start a process and wait until it listens."""
        command = [sys.executable, "-m", _MODULES[name]]
        if name == "mail":
            command = [
                sys.executable,
                "-c",
                _MAIL,
                self.environment["IDENTITY_SMTP_PORT"],
                str(self.listening[name]),
            ]
        log = self.directory / f"{name}.log"
        daemon = Daemon(name, command, log=log, directory=self.directory, env=self.environment)
        self._daemons[name] = daemon
        daemon.wait_until(lambda: ports.is_listening(self.listening[name]), _READY_S)

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut or an out-of-memory kill would; returns when it is gone."""
        self._daemons[name].stop(signal.SIGKILL)

    def stop(self) -> None:
        """Ends everything, the doors first."""
        for name in reversed(list(self._daemons)):
            self._daemons[name].stop()

    def log(self, name: str) -> str:
        """All that the process has written."""
        return (self.directory / f"{name}.log").read_text(errors="replace")


_MAIL = "import asyncio, sys; from ams_local.mail import serve; asyncio.run(serve(*map(int, sys.argv[1:])))"
_MODULES = {
    "mail": "ams_local.mail",
    **{service: f"{service}_svc" for service in SERVICES},
    "bff": "ams_bff",
    "gateway": "ams_gateway",
}


@contextmanager
def running(admin_database_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[World]:
    """The system on a database and topics of its own, until the block ends."""
    database = f"world_{secrets.token_hex(6)}"
    # Roles are the whole server's: these are this database's own, so that worlds don't disturb each other.
    owners = {schema: f"{database}_{role}" for schema, role in OWNERS.items()}
    urls = asyncio.run(provision(admin_database_url, database, owners=owners))
    directory = Path(tempfile.mkdtemp(prefix="ams-world-"))
    names = list(_MODULES)
    listening = dict(zip(names, ports.free_ports(len(names)), strict=True))
    environment = _environment(listening, urls, redis_url, kafka_bootstrap, directory)
    world = World(urls, directory, environment, listening)
    try:
        for name in names:
            world.start(name)
        yield world
    finally:
        world.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _environment(
    listening: Mapping[str, int],
    urls: Mapping[str, str],
    redis_url: str,
    kafka_bootstrap: str,
    directory: Path,
) -> dict[str, str]:
    addresses = {f"{service.upper()}_ADDRESS": f"127.0.0.1:{listening[service]}" for service in SERVICES}
    listens = {f"{name.upper()}_LISTEN": f"127.0.0.1:{port}" for name, port in listening.items()}
    databases = {f"{schema.upper()}_DATABASE_URL": url for schema, url in urls.items()}
    return {
        "PATH": os.environ["PATH"],
        "AMS_ENVIRONMENT": "test",
        "LOG_LEVEL": "INFO",
        "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": f"{directory.name}.",
        "IDENTITY_ADMIN_EMAILS": ADMIN_EMAIL,
        "IDENTITY_SMTP_HOST": "127.0.0.1",
        "IDENTITY_SMTP_PORT": str(ports.free_ports(1)[0]),
        "CATALOG_ALLOW_PRIVATE_UPSTREAMS": "true",
        "GATEWAY_ALLOW_PRIVATE_UPSTREAMS": "true",
        "GATEWAY_JOURNAL_DIR": str(directory / "journal"),
        "GATEWAY_WORKERS": "1",
        "BFF_PUBLIC_URL": f"http://127.0.0.1:{listening['bff']}",
        **addresses,
        **listens,
        **databases,
    }
