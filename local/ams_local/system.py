"""The processes of AMS on this machine: which there are, on which ports, and what each is told."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ams_common import ports

from ams_local import distribution
from ams_local.keyring import Keyring
from ams_local.servers import Addresses
from ams_local.supervision import Program

SERVICES = ("identity", "catalog", "keys", "usage", "billing", "registry")
# Those that call others, and so prove themselves to identity-svc.
CALLERS = ("keys-svc", "registry-svc", "gateway")
ADMIN_EMAIL = "admin@ams.example"


@dataclass(frozen=True)
class Ports:
    """One TCP port per door; the defaults are those that people remember."""

    bff: int = 8000
    gateway: int = 8080
    mail_page: int = 8025
    smtp: int = 1025
    identity: int = 7001
    catalog: int = 7002
    keys: int = 7003
    usage: int = 7004
    billing: int = 7005
    registry: int = 7006
    images: int = 5050
    distribution: int = 5051

    @classmethod
    def choose(cls) -> "Ports":
        """The defaults where they are free, other ports where not."""
        chosen = {field.name: ports.default_or_free(getattr(cls, field.name)) for field in fields(cls)}
        return cls(**chosen)


@dataclass(frozen=True)
class System:
    """Where everything answers."""

    ports: Ports
    upstream_port: int
    run_directory: Path

    def url(self, door: str) -> str:
        """The address of one of the HTTP doors: bff, gateway, images (the /v2/ of registry-svc),
        distribution, mail_page or upstream."""
        port = self.upstream_port if door == "upstream" else asdict(self.ports)[door]
        return f"http://127.0.0.1:{port}"

    def grpc_address(self, service: str) -> str:
        return f"127.0.0.1:{asdict(self.ports)[service]}"


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
        **{f"{service.upper()}_ADDRESS": system.grpc_address(service) for service in SERVICES},
    }
    own = {
        "identity-svc": _identity(system, keyring),
        "catalog-svc": {"CATALOG_ALLOW_PRIVATE_UPSTREAMS": "true"},
        "billing-svc": {"BILLING_PSEUDONYM_KEY": keyring.secret("billing-pseudonyms")},
        "keys-svc": {"KEYS_SERVICE_SECRET": _caller_secret(keyring, "keys-svc")},
        "registry-svc": _registry(system, keyring),
        "ams-gateway": _gateway(system, keyring),
        "ams-bff": {
            "BFF_LISTEN": f"127.0.0.1:{system.ports.bff}",
            "BFF_PUBLIC_URL": system.url("bff"),
            "BFF_GATEWAY_URL": system.url("gateway"),
        },
    }
    for service in SERVICES:
        prefix = service.upper()
        own.setdefault(f"{service}-svc", {}).update(
            {
                f"{prefix}_DATABASE_URL": database_urls[service],
                f"{prefix}_LISTEN": system.grpc_address(service),
            }
        )
    scripts = Path(sys.executable).parent
    ours = [Program(name, [str(scripts / name)], everybody | own[name]) for name in sorted(own)]
    storage = [
        distribution.program(
            system.run_directory, system.ports.distribution, keyring.secret("distribution uploads")
        )
    ]
    return [
        *(storage if distribution.is_installed() else []),
        *ours,
        *_helpers(system, everybody),
    ]


def _caller_secret(keyring: Keyring, caller: str) -> str:
    return keyring.secret(f"service {caller}")


def _identity(system: System, keyring: Keyring) -> dict[str, str]:
    secrets = ",".join(f"{caller}={_caller_secret(keyring, caller)}" for caller in CALLERS)
    return {
        "IDENTITY_ADMIN_EMAILS": ADMIN_EMAIL,
        "IDENTITY_SERVICE_SECRETS": secrets,
        "IDENTITY_ENCRYPTION_KEY": f"{keyring.secret('identity encryption')}=",  # 32 bytes, padded
        "IDENTITY_SMTP_HOST": "127.0.0.1",
        "IDENTITY_SMTP_PORT": str(system.ports.smtp),
        "IDENTITY_SMTP_TLS": "plaintext",
        "IDENTITY_PUBLIC_URL": system.url("bff"),
    }


def _registry(system: System, keyring: Keyring) -> dict[str, str]:
    return {
        "REGISTRY_SERVICE_SECRET": _caller_secret(keyring, "registry-svc"),
        "REGISTRY_HTTP_LISTEN": f"127.0.0.1:{system.ports.images}",
        "REGISTRY_PUBLIC_URL": system.url("images"),
        "REGISTRY_SIGNING_KEY": f"{keyring.secret('registry tokens')}=",  # 32 bytes, padded
        "REGISTRY_PROVIDER_URL": system.url("distribution"),
    }


def _gateway(system: System, keyring: Keyring) -> dict[str, str]:
    return {
        "GATEWAY_LISTEN": f"127.0.0.1:{system.ports.gateway}",
        "GATEWAY_SERVICE_SECRET": _caller_secret(keyring, "gateway"),
        "GATEWAY_JOURNAL_DIR": str(system.run_directory / "journal"),
        "GATEWAY_ALLOW_PRIVATE_UPSTREAMS": "true",  # the demo merchants' API is on this machine
    }


def _helpers(system: System, environment: Mapping[str, str]) -> list[Program]:
    """The mail catcher, the demo merchants' API, and the guide that fills the marketplace."""
    module = [sys.executable, "-m", "ams_local"]
    mail = ["mail", str(system.ports.smtp), str(system.ports.mail_page)]
    return [
        Program("mail", [*module, *mail], environment),
        Program("upstream", [*module, "upstream", str(system.upstream_port)], environment),
        Program("guide", [*module, "guide"], environment),
    ]
