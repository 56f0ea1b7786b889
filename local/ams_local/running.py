"""`python -m ams_local run`: the whole system on this machine."""

import asyncio
import os

from ams_common import ports, topics

from ams_local import paths
from ams_local.daemons import StartError
from ams_local.guide import say, write_down
from ams_local.keyring import Keyring
from ams_local.provision import prepare_database
from ams_local.servers import serving
from ams_local.supervision import supervise
from ams_local.system import USUAL_PORTS, System, programs, usual_or_free_ports

LOG_LINES = 25


def run() -> int:
    """Until Ctrl-C. Raises StartError when a process ends by itself."""
    directory = paths.run_directory()
    say("starting PostgreSQL, Redis and Kafka")
    with serving(throwaway=False) as servers:
        keyring = Keyring(directory / "secrets.json")
        system = System(usual_or_free_ports() | {"upstream": _upstream_port(keyring)}, directory)
        write_down(system)
        say("preparing the database and the topics")
        urls = prepare_database(servers.database_url, keyring)
        asyncio.run(topics.create_missing(servers.kafka_bootstrap_servers))
        asyncio.run(topics.correct_in_sync_copies(servers.kafka_bootstrap_servers))
        say("starting the services; each migrates its own schema")
        processes = programs(system, servers, urls, keyring, os.environ)
        ended = supervise(processes, directory / "logs", shown="guide")
        if ended:
            log = directory / "logs" / f"{ended}.log"
            lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
            raise StartError("\n".join([f"{ended} ended by itself; the end of {log}:", *lines]))
        say("stopping PostgreSQL, Redis and Kafka")
    return 0


def _upstream_port(keyring: Keyring) -> int:
    """The same at each start: the demo services are registered with it."""
    kept = keyring.find("demo upstream port")
    if kept is None:
        port = ports.default_or_free(USUAL_PORTS["upstream"])
        keyring.keep("demo upstream port", str(port))
        return port
    if not ports.is_free(int(kept)):
        raise StartError(
            f"Port {kept}, where the demo services are registered, is taken. Free it, or delete"
            f" {keyring.path.parent} to start anew."
        )
    return int(kept)
