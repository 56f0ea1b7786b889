"""The whole system for the time of a load test, on data that nobody misses."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ams_common import topics
from ams_local.daemons import Daemon
from ams_local.guide import wait_until_ready
from ams_local.keyring import Keyring
from ams_local.provision import prepare_database
from ams_local.servers import serving
from ams_local.system import System, free_ports, programs


@contextmanager
def running() -> Iterator[tuple[System, Keyring]]:
    """Every process but the guide, on servers of its own: what the environment names stays untouched."""
    with ExitStack() as stack:
        servers = stack.enter_context(serving(throwaway=True, environment={}))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ams-load-")))
        keyring = Keyring(directory / "secrets.json")
        system = System(free_ports(), directory)
        urls = prepare_database(servers.database_url, keyring)
        asyncio.run(topics.create_missing(servers.kafka_bootstrap_servers))
        inherited = {"PATH": os.environ["PATH"]}
        for program in programs(system, servers, urls, keyring, inherited):
            if program.name == "guide":
                continue
            log = directory / f"{program.name}.log"
            daemon = Daemon(
                program.name, program.command, log=log, directory=directory, env=program.environment
            )
            stack.callback(daemon.stop)
        wait_until_ready(system)
        yield system, keyring
