"""The processes of AMS: the one list that provisioning, containers, local running and tests read.

It imports nothing but the standard library, for `make env` reads it before anything is installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process, its ports on a developer's machine (0: it has none) and what only it is told."""

    name: str  # of its console script, its container and its distribution
    grpc_port: int = 0
    http_port: int = 0
    metrics_port: int
    # Whether /healthz and /readyz are answered on the operators' port, for the public one has calls only.
    is_asked_by_operators: bool = False
    schema: str = ""
    # Settings without their prefix: texts that nobody can guess, and 32 random bytes in url-safe base64.
    secrets: tuple[str, ...] = ()
    random_keys: tuple[str, ...] = ()
    # Whole names of variables that several processes are told alike: 32 random bytes in url-safe base64.
    shared_keys: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Its folder in the repository. Also how its service token, and a rule's callers, name it."""
        return self.name.removeprefix("ams-")

    @property
    def package(self) -> str:
        """Its Python package; the database role that owns its schema is called the same."""
        return self.name.replace("-", "_")

    @property
    def is_caller(self) -> bool:
        """Whether it proves itself to identity-svc, for a service token."""
        return "SERVICE_SECRET" in self.secrets

    @property
    def prefix(self) -> str:
        """What the variables of its settings begin with: KEYS, GATEWAY."""
        return self.folder.removesuffix("-svc").upper()

    @property
    def entry_variable(self) -> str:
        """The variable that says where people reach it: by HTTP where it serves that, else by gRPC."""
        return self.variable("HTTP_LISTEN" if self.grpc_port and self.http_port else "LISTEN")

    @property
    def health_variable(self) -> str:
        """The variable that says where a process with HTTP answers /healthz, and /readyz if it has that."""
        return self.variable("METRICS_LISTEN") if self.is_asked_by_operators else self.entry_variable

    @property
    def ports(self) -> Mapping[str, int]:
        """Its ports, by the variable that says where it listens."""
        return {
            self.variable("LISTEN"): self.grpc_port or self.http_port,
            self.entry_variable: self.http_port or self.grpc_port,
            self.variable("METRICS_LISTEN"): self.metrics_port,
        }

    def variable(self, setting: str) -> str:
        """The environment's variable of a setting: LISTEN → KEYS_LISTEN."""
        return f"{self.prefix}_{setting}"


PROCESSES: Mapping[str, Process] = {
    process.name: process
    for process in (
        Process(
            name="identity-svc",
            schema="identity",
            grpc_port=7001,
            metrics_port=9101,
            random_keys=("ENCRYPTION_KEY",),
        ),
        Process(
            name="catalog-svc",
            schema="catalog",
            grpc_port=7002,
            metrics_port=9102,
            secrets=("SERVICE_SECRET",),
            shared_keys=("UPSTREAM_SEALING_KEY",),
        ),
        Process(
            name="keys-svc",
            schema="keys",
            grpc_port=7003,
            metrics_port=9103,
            secrets=("SERVICE_SECRET",),
            shared_keys=("PSEUDONYM_KEY",),
        ),
        Process(
            name="usage-svc",
            schema="usage",
            grpc_port=7004,
            metrics_port=9104,
            secrets=("SERVICE_SECRET",),
            random_keys=("SEALING_KEY",),
            shared_keys=("PSEUDONYM_KEY",),
        ),
        Process(
            name="billing-svc",
            schema="billing",
            grpc_port=7005,
            metrics_port=9105,
            secrets=("SERVICE_SECRET",),
            shared_keys=("PSEUDONYM_KEY",),
        ),
        Process(
            name="registry-svc",
            schema="registry",
            grpc_port=7006,
            http_port=5050,
            metrics_port=9106,
            secrets=("SERVICE_SECRET",),
            random_keys=("SIGNING_KEY",),
        ),
        Process(
            name="ams-gateway",
            http_port=8080,
            metrics_port=9107,
            is_asked_by_operators=True,
            secrets=("SERVICE_SECRET",),
            shared_keys=("UPSTREAM_SEALING_KEY",),
        ),
        Process(
            name="ams-bff",
            http_port=8000,
            metrics_port=9108,
            secrets=("SERVICE_SECRET",),
            random_keys=("SEALING_KEY",),
        ),
    )
}
# By the name of their schema, which the variables of their addresses have too: IDENTITY_ADDRESS.
GRPC_SERVERS: Mapping[str, Process] = {
    process.schema: process for process in PROCESSES.values() if process.grpc_port
}
CALLERS = tuple(process for process in PROCESSES.values() if process.is_caller)
