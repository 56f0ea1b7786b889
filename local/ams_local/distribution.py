"""The self-hosted registry behind registry-svc: Debian's build of CNCF distribution."""

import json
import os
import shutil
from pathlib import Path

from ams_local import tools
from ams_local.supervision import Program

PROGRAM = "docker-registry"


def is_installed() -> bool:
    """Without it all of AMS runs but what pushes and pulls images."""
    return shutil.which(PROGRAM) is not None


def program(directory: Path, port: int, secret: str) -> Program:
    """The process, with what it keeps under `directory`. It listens on the loopback address only and
    lets everybody in: registry-svc, in front of it, is who decides.

    `secret` signs the state of its uploads."""
    home = directory / "distribution"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = home / "config.yml"
    config.write_text(json.dumps(_config(home, port, secret), indent=2))  # JSON is YAML
    # Nothing of ours in its environment: it takes every REGISTRY_… variable for a setting of its own.
    return Program("distribution", [tools.find(PROGRAM), "serve", str(config)], {"PATH": os.defpath})


def _config(home: Path, port: int, secret: str) -> dict[str, object]:
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(home / "data")},
            "delete": {"enabled": True},
            # What is kept in memory of blobs would outlive their deletion.
            "cache": {"blobdescriptor": ""},
        },
        "http": {"addr": f"127.0.0.1:{port}", "relativeurls": True, "secret": secret},
    }
