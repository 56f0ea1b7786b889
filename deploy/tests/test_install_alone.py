"""Each service, installed as its image installs it, starts with nothing but what it declares."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ams_common import ports, topics
from ams_common.processes import PROCESSES
from ams_common.provision import OWNERS
from ams_common.testing.eventually import eventually
from ams_local.daemons import Daemon
from ams_local.keyring import Keyring
from ams_local.paths import project_root
from ams_local.servers import Addresses
from ams_local.system import System, free_ports, programs

ROOT = project_root()

Install = Callable[[str], Path]


def test_the_build_context_holds_what_the_dockerfile_copies_and_nothing_private(context: Path) -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    copied = [
        source
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
        for source in sources.split()
    ]
    assert copied
    assert all((context / source).exists() for source in copied)
    there = {str(path.relative_to(context)) for path in context.rglob("*")}
    kept_out = re.compile(r"(^|/)(\.env.*|\.git|\.run|\.venv|tests|__pycache__)(/|$)")
    assert not [path for path in there if kept_out.search(path)]


def test_the_web_ui_is_installed_with_its_assets(install: Install) -> None:
    assert list(
        (install("ams-bff").parent / "lib").glob("python*/site-packages/ams_bff/static/manifest.json")
    )


@pytest.mark.parametrize("name", PROCESSES)
def test_without_settings_it_names_what_it_needs(install: Install, name: str) -> None:
    finished = subprocess.run(
        [install(name) / "serve"], env={}, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2, finished.stderr
    assert f"{PROCESSES[name].prefix}_LISTEN must be set" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("name", PROCESSES)
async def test_it_starts_alone_is_alive_and_stops(
    install: Install,
    name: str,
    tmp_path: Path,
    admin_database_url: str,
    redis_url: str,
    kafka_bootstrap: str,
    provisioned: dict[str, str],
) -> None:
    """Against real servers, while no other service runs: it serves, says so, and ends well."""
    installed = install(name)
    system = System(free_ports(), tmp_path)
    servers = Addresses(admin_database_url, redis_url, kafka_bootstrap)
    prefix = f"{tmp_path.name}."
    await topics.create_missing(kafka_bootstrap, prefix)
    keyring = Keyring(tmp_path / "secrets.json")
    inherited = {"PATH": os.defpath, "KAFKA_TOPIC_PREFIX": prefix, "AMS_SERVICE": name}
    crew = programs(system, servers, provisioned, keyring, inherited)
    environment = next(program.environment for program in crew if program.name == name)

    def healthcheck() -> int:
        command = [str(installed / "python"), "-m", "ams_common.healthcheck"]
        return subprocess.run(command, env=environment, timeout=30, check=False).returncode

    assert healthcheck() == 1
    port = int(environment[PROCESSES[name].variable("LISTEN")].rpartition(":")[2])
    daemon = Daemon(
        name, [str(installed / "serve")], log=tmp_path / "log", directory=tmp_path, env=environment
    )
    try:

        async def alive() -> bool:
            assert daemon.process.poll() is None, daemon.log_end()
            # A check is a process of some weight: worth it once somebody listens.
            return ports.is_listening(port) and healthcheck() == 0

        await eventually(alive, timeout_s=60)
        daemon.stop(signal.SIGTERM)
        assert daemon.process.returncode == 0, daemon.log_end()
    finally:
        daemon.stop(signal.SIGKILL)


def test_provisioning_names_what_it_needs(install: Install) -> None:
    command = [str(install("identity-svc") / "python"), "-m", "ams_common.provision"]
    finished = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 2
    for schema in OWNERS:
        assert f"{schema.upper()}_DATABASE_PASSWORD must be set" in finished.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS must be set" in finished.stderr
