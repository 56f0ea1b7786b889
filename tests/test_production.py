"""In production nothing starts with a default secret, without TLS for the session cookie, or with a
debug switch on; the message names the variable."""

import subprocess
import sys
from pathlib import Path

import pytest
from ams_common.provision import OWNERS
from ams_local.keyring import Keyring
from ams_local.servers import Addresses
from ams_local.system import USUAL_PORTS, System, programs

SECRET = "a-secret-of-more-than-24-characters"


def environments(directory: Path) -> dict[str, dict[str, str]]:
    """What `make run` gives each process: good settings for development."""
    servers = Addresses("postgresql://nowhere", "redis://127.0.0.1:1", "127.0.0.1:1")
    urls = dict.fromkeys(OWNERS, "postgresql://somebody:secret@127.0.0.1:1/ams")
    keyring = Keyring(directory / "secrets.json")
    crew = programs(System(USUAL_PORTS, directory), servers, urls, keyring, {"PATH": ""})
    return {program.name: dict(program.environment) for program in crew}


def complaints(name: str, environment: dict[str, str]) -> str:
    """What the process says when it refuses to start."""
    script = Path(sys.executable).parent / name
    finished = subprocess.run(
        [script], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert finished.returncode == 2, f"{finished.returncode}: {finished.stderr}"
    assert "Traceback" not in finished.stderr
    return finished.stderr


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        ("keys-svc", "KEYS_SERVICE_SECRET", "development-secret"),
        ("keys-svc", "KEYS_SERVICE_SECRET", "short"),
        ("keys-svc", "KEYS_SERVICE_SECRET", None),
        ("catalog-svc", "CATALOG_SERVICE_SECRET", "development-secret"),
        ("catalog-svc", "CATALOG_ALLOW_PRIVATE_UPSTREAMS", "true"),
        ("catalog-svc", "CATALOG_GATEWAY_URL", None),
        ("catalog-svc", "UPSTREAM_SEALING_KEY", None),
        ("billing-svc", "PSEUDONYM_KEY", None),
        ("registry-svc", "REGISTRY_SERVICE_SECRET", "development-secret"),
        ("registry-svc", "REGISTRY_SIGNING_KEY", None),
        ("registry-svc", "REGISTRY_PUBLIC_URL", "http://registry.ams.example"),
        ("identity-svc", "IDENTITY_SERVICE_SECRETS", None),
        ("identity-svc", "IDENTITY_ENCRYPTION_KEY", None),
        ("identity-svc", "IDENTITY_PUBLIC_URL", "http://ams.example"),
        ("ams-gateway", "GATEWAY_SERVICE_SECRET", "development-secret"),
        ("ams-gateway", "GATEWAY_ALLOW_PRIVATE_UPSTREAMS", "true"),
        ("ams-bff", "BFF_PUBLIC_URL", "http://ams.example"),
        ("ams-bff", "BFF_DEBUG", "true"),
        ("ams-bff", "BFF_SERVICE_SECRET", "development-secret"),
        ("ams-bff", "BFF_SEALING_KEY", None),
        ("identity-svc", "IDENTITY_ADMINS_NEED_SECOND_FACTOR", None),
        ("identity-svc", "IDENTITY_ADMINS_NEED_SECOND_FACTOR", "false"),
    ],
)
def test_production_refuses_it_and_names_the_variable(
    name: str, variable: str, value: str | None, tmp_path: Path
) -> None:
    environment = environments(tmp_path)[name] | {"AMS_ENVIRONMENT": "production"}
    environment.pop(variable, None)
    if value is not None:
        environment[variable] = value
    assert variable in complaints(name, environment)
