"""The processes of AMS on this machine: on which ports they listen, and what each is told."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ams_common import ports
from ams_common.processes import CALLERS, GRPC_SERVERS, PROCESSES, Process

from ams_local import distribution
from ams_local.keyring import Keyring
from ams_local.servers import Addresses
from ams_local.supervision import Program

ADMIN_EMAIL = "admin@ams.example"
# Those that people remember; of our processes by the variable that says where they listen.
USUAL_PORTS: Mapping[str, int] = {
    **{variable: port for process in PROCESSES.values() for variable, port in process.ports.items()},
    "distribution": 5051,
    "mail": 8025,
    "smtp": 1025,
    "upstream": 8090,
}
# The keyring's names: a run directory that is there has its secrets under these.
_KEPT_AS = {
    "PSEUDONYM_KEY": "pseudonyms",
    "IDENTITY_ENCRYPTION_KEY": "identity encryption",
    "REGISTRY_SIGNING_KEY": "registry tokens",
    **{caller.variable("SERVICE_SECRET"): f"service {caller.folder}" for caller in CALLERS},
}


def usual_or_free_ports() -> dict[str, int]:
    """The usual ports where they are free, other ports where not."""
    return {name: ports.default_or_free(port) for name, port in USUAL_PORTS.items()}


def free_ports() -> dict[str, int]:
    """Ports for one more system beside those that run already."""
    return dict(zip(USUAL_PORTS, ports.free_ports(len(USUAL_PORTS)), strict=True))


@dataclass(frozen=True)
class System:
    """Says where each process of a local run answers."""

    ports: Mapping[str, int]
    run_directory: Path

    def port(self, name: str) -> int:
        """The port of one of our processes, by HTTP where it serves that, or of "mail" (its page),
        "smtp", "distribution" or "upstream" (the demo merchants' API)."""
        process = PROCESSES.get(name)
        return self.ports[process.entry_variable if process else name]

    def url(self, name: str) -> str:
        """The HTTP address of what `port` knows."""
        return f"http://127.0.0.1:{self.port(name)}"

    def readiness_url(self, name: str) -> str:
        """Where one of our processes with HTTP says whether it is ready."""
        return f"http://127.0.0.1:{self.ports[PROCESSES[name].health_variable]}/readyz"

    def grpc_address(self, process: Process) -> str:
        return f"127.0.0.1:{self.ports[process.variable('LISTEN')]}"


def programs(
    system: System,
    servers: Addresses,
    database_urls: Mapping[str, str],
    keyring: Keyring,
    inherited: Mapping[str, str],
) -> list[Program]:
    """Every process with its environment. Each gets its own database role and secret, and no other's."""
    everybody = {
        **{name: value for name, value in inherited.items() if name != "DATABASE_URL"},
        "AMS_ENVIRONMENT": "development",
        "PYTHONUNBUFFERED": "1",
        "REDIS_URL": servers.redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": servers.kafka_bootstrap_servers,
        **{server.variable("ADDRESS"): system.grpc_address(server) for server in GRPC_SERVERS.values()},
    }
    scripts = Path(sys.executable).parent
    ours = [
        Program(
            process.name,
            [str(scripts / process.name)],
            everybody
            | {variable: f"127.0.0.1:{system.ports[variable]}" for variable in process.ports}
            | ({process.variable("DATABASE_URL"): database_urls[process.schema]} if process.schema else {})
            | _secrets(process, keyring)
            | _settings(process.name, system, keyring),
        )
        for process in sorted(PROCESSES.values(), key=lambda process: process.name)
    ]
    module = [sys.executable, "-m", "ams_local"]
    mail_ports = [str(system.port("smtp")), str(system.port("mail"))]
    return [
        *_storage(system, keyring),
        *ours,
        Program("mail", [*module, "mail", *mail_ports], everybody),
        Program("upstream", [*module, "upstream", str(system.port("upstream"))], everybody),
        Program("guide", [*module, "guide"], everybody),
    ]


def _secrets(process: Process, keyring: Keyring) -> dict[str, str]:
    texts = {variable: _secret(keyring, variable) for variable in map(process.variable, process.secrets)}
    variables = (*map(process.variable, process.random_keys), *process.shared_keys)
    # The keyring's secrets are 32 bytes without the padding that base64 asks for.
    return texts | {variable: f"{_secret(keyring, variable)}=" for variable in variables}


def _secret(keyring: Keyring, variable: str) -> str:
    return keyring.secret(_KEPT_AS.get(variable, variable))


def _settings(name: str, system: System, keyring: Keyring) -> dict[str, str]:
    """What only this process is told, its ports and its own secrets apart."""
    match name:
        case "identity-svc":
            secrets = (
                f"{each.folder}={_secret(keyring, each.variable('SERVICE_SECRET'))}" for each in CALLERS
            )
            return {
                "IDENTITY_ADMIN_EMAILS": ADMIN_EMAIL,
                "IDENTITY_SERVICE_SECRETS": ",".join(secrets),
                "IDENTITY_SMTP_HOST": "127.0.0.1",
                "IDENTITY_SMTP_PORT": str(system.port("smtp")),
                "IDENTITY_SMTP_TLS": "plaintext",
                "IDENTITY_PUBLIC_URL": system.url("ams-bff"),
                # Everybody is at one address here, the demo's people too.
                "IDENTITY_CODE_ASKS_PER_HOUR": "100000",
                "IDENTITY_CODE_MAILS_PER_HOUR": "100000",
            }
        case "catalog-svc":
            return {
                "CATALOG_ALLOW_PRIVATE_UPSTREAMS": "true",  # the demo merchants' API is on this machine
                "CATALOG_GATEWAY_URL": system.url("ams-gateway"),
            }
        case "usage-svc":
            files = system.run_directory / "usage"
            return {"USAGE_REPORTS_URL": str(files / "reports"), "USAGE_ARCHIVE_URL": str(files / "archive")}
        case "registry-svc":
            return {
                "REGISTRY_PUBLIC_URL": system.url("registry-svc"),
                "REGISTRY_PROVIDER_URL": system.url("distribution"),
            }
        case "ams-gateway":
            return {
                "GATEWAY_JOURNAL_DIR": str(system.run_directory / "journal"),
                "GATEWAY_ALLOW_PRIVATE_UPSTREAMS": "true",
            }
        case "ams-bff":
            return {"BFF_PUBLIC_URL": system.url("ams-bff"), "BFF_GATEWAY_URL": system.url("ams-gateway")}
    return {}


def _storage(system: System, keyring: Keyring) -> list[Program]:
    if not distribution.is_installed():
        return []
    secret = keyring.secret("distribution uploads")
    return [distribution.program(system.run_directory, system.port("distribution"), secret)]
