import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ams_common.provision import OWNERS, provision
from ams_local.paths import project_root
from pathspec import PathSpec

ROOT = project_root()
_COMMANDS = re.compile(r"^RUN ((?:npm run|deploy/install-service) .+)$", re.MULTILINE)

Install = Callable[[str], Path]


@pytest.fixture(scope="session")
def provisioned(admin_database_url: str) -> dict[str, str]:
    """A database of AMS: the URL of each schema, for roles of its own."""
    database = f"alone_{secrets.token_hex(6)}"
    owners = {schema: f"{database}_{role}" for schema, role in OWNERS.items()}
    return asyncio.run(provision(admin_database_url, database, owners=owners))


@pytest.fixture(scope="session")
def context() -> Iterator[Path]:
    """The build context: a copy of what .dockerignore lets through, and of nothing else."""
    with tempfile.TemporaryDirectory(prefix="ams-context-") as directory:
        for path in _let_through():
            (copy := Path(directory) / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, copy)
        yield Path(directory)


def _let_through() -> Iterator[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    # Docker's patterns begin at the root; a .gitignore's do where a slash says so.
    ignored = PathSpec.from_lines("gitignore", [re.sub("^(!?)", r"\1/", line) for line in patterns])
    # All else at the top is ignored with all that is in it: no need to look there.
    tops = {line[1:].partition("/")[0] for line in patterns if line.startswith("!")}
    for top in {path for pattern in tops for path in ROOT.glob(pattern)}:
        inside = [path for path in top.rglob("*") if path.is_file()] or [top]
        yield from ignored.match_files((str(path.relative_to(ROOT)) for path in inside), negate=True)


@pytest.fixture(scope="session")
def install(context: Path) -> Iterator[Install]:
    """Installs a service once, by the Dockerfile's own commands; the directory of its programs."""
    build_assets, service = _COMMANDS.findall((ROOT / "deploy/Dockerfile").read_text())
    with tempfile.TemporaryDirectory(prefix="ams-alone-") as directory:
        home = Path(directory)
        (wheels := home / "wheels").mkdir()
        tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        shell = {**os.environ, "PATH": tools, "PYTHON": sys.executable, "WHEELS": str(wheels)}

        def run(command: str, directory: Path, **more: str) -> None:
            subprocess.run(command, shell=True, cwd=directory, env=shell | more, check=True, timeout=110)

        _copy_packages(context / "bff")
        run(f"python -m ams_local {build_assets}", context / "bff")
        shutil.rmtree(context / "bff/node_modules")

        def install(name: str) -> Path:
            if not (home / name).exists():
                run(service.replace("/opt/", f"{home}/{name}/"), context, SERVICE=name)
            return home / name / "ams/bin"

        yield install


def _copy_packages(bff: Path) -> None:
    """What `npm ci --omit=dev` would fetch, from what is here."""
    for path, package in json.loads((bff / "package-lock.json").read_text())["packages"].items():
        # What esbuild has for other platforms is optional, and not here.
        if path and not package.get("dev") and (ROOT / "bff" / path).exists():
            shutil.copytree(ROOT / "bff" / path, bff / path, dirs_exist_ok=True)
