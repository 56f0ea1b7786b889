"""What the tests of registry-svc share."""

import json
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.audit.v1.events_pb2 import AuditRecord
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.registry.v1 import registry_service_pb2 as pb
from ams.registry.v1 import registry_service_pb2_grpc as rpc
from ams_common.client import ServiceToken, invoke, open_channel
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.ports import free_port
from ams_common.testing.plugin import Schema
from ams_common.testing.tokens import TestIssuer
from ams_local import tools
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from registry_svc.auth import push_tokens
from registry_svc.clients import PeerClients
from registry_svc.rpc import RegistryService
from registry_svc.storage.rows import Image, PushToken
from registry_svc.storage.store import Store

HOST = "registry.example"
ACR_ISSUER = "Azure Container Registry"


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("registry", "registry_svc", Store)


@pytest.fixture
async def peers(nobody_listens: str) -> AsyncIterator[PeerClients]:
    """The real clients of servers that are away."""
    async with open_channel(nobody_listens) as channel:
        token = ServiceToken(channel, "registry-svc", "development-secret")
        yield PeerClients(catalog_rpc.CatalogServiceStub(channel), keys_rpc.KeysServiceStub(channel), token)


@pytest.fixture
async def channel(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]],
    database: Database[Store],
    peers: PeerClients,
) -> grpc.aio.Channel:
    """To the real server, on this test's database."""
    servicer = RegistryService(database=database, peers=peers, host=HOST)
    return await serve_rpc(
        pb.DESCRIPTOR.services_by_name["RegistryService"],
        partial(rpc.add_RegistryServiceServicer_to_server, servicer),
    )


class Person:
    """Somebody signed in, who calls RPCs: `await person("GetImage", image_id=…)`. Raises AppError."""

    def __init__(self, channel: grpc.aio.Channel, token: str, user_id: UUID) -> None:
        self._stub = rpc.RegistryServiceStub(channel)
        self._token = token
        self.user_id = user_id

    async def __call__(self, method: str, **fields: Any) -> Any:
        request_type = getattr(pb, f"{method}Request")
        return await invoke(getattr(self._stub, method), request_type(**fields), token=self._token)


@pytest.fixture
def person(channel: grpc.aio.Channel, issuer: TestIssuer) -> Callable[..., Person]:
    def make(role: Any) -> Person:
        user_id = uuid7()
        return Person(channel, issuer.user_token(user_id, role), user_id)

    return make


@pytest.fixture
def merchant(person: Any) -> Person:
    made: Person = person(MERCHANT)
    return made


@pytest.fixture
def outsider(person: Any) -> Person:
    """Another merchant, who knows the ids."""
    made: Person = person(MERCHANT)
    return made


@pytest.fixture
def admin(person: Any) -> Person:
    made: Person = person(ADMIN)
    return made


@pytest.fixture
def consumer(person: Any) -> Person:
    made: Person = person(CONSUMER)
    return made


@dataclass(frozen=True, slots=True)
class Shelf:
    """Puts rows where the RPCs find them, and reads what they wrote."""

    database: Database[Store]

    async def token(self, merchant_id: UUID, service_id: UUID | None = None, age_hours: int = 0) -> PushToken:
        """A push token of 24 hours, made `age_hours` ago."""
        new, service_id = push_tokens.generate(), service_id or uuid7()
        made_at = push_tokens.expiry(utc_now(), -age_hours) if age_hours else utc_now()
        async with self.database.change_by_system("test", audited=False) as change:
            await change.store.lock_repository(service_id, merchant_id, f"m-{merchant_id}/s-{service_id}")
            token = PushToken(
                push_token_id=uuid7(),
                token_prefix=new.prefix,
                service_id=service_id,
                merchant_id=merchant_id,
                name="ci",
                repository=f"m-{merchant_id}/s-{service_id}",
                created_at=made_at,
                expires_at=push_tokens.expiry(made_at, 24),
            )
            await change.store.add_push_token(token, new.sha256)
        return token

    async def image(self, token: PushToken, tag: str = "1.0.0", **fields: Any) -> Image:
        """A version in the token's repository."""
        values: dict[str, Any] = {
            "image_id": uuid7(),
            "service_id": token.service_id,
            "merchant_id": token.merchant_id,
            "name": token.repository,
            "tag": tag,
            "digest": f"sha256:{uuid7().hex * 2}",
            "child_digests": (),
            "media_type": "application/vnd.oci.image.manifest.v1+json",
            "size_bytes": 42,
            "status": "active",
            "rejection_reason": "",
            "license_model": "connected",
            "pushed_at": utc_now(),
        }
        async with self.database.change_by_system("test", audited=False) as change:
            saved = await change.store.save_image(Image(**{**values, **fields}))
        assert saved is not None
        return saved

    async def audits(self) -> list[tuple[str, str, str, str]]:
        """(actor, action, resource, resource id) of each audit record."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "SELECT payload FROM outbox WHERE topic = 'audit.events' ORDER BY outbox_id"
            )
        records = [AuditRecord.FromString(row["payload"]) for row in rows]
        return [(r.actor, r.action, r.resource, r.resource_id) for r in records]


@pytest.fixture
def shelf(database: Database[Store]) -> Shelf:
    return Shelf(database)


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real CNCF distribution, as `make run` starts it."""
    with _distribution(tools.find("docker-registry"), tmp_path_factory.mktemp("distribution")) as url:
        yield url


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator["AzureRegistry"]:
    """The same, for which one signs in as at Azure Container Registry."""
    program = tools.find("docker-registry")
    directory = tmp_path_factory.mktemp("azure")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key)
    (directory / "root.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    port = free_port()
    token = {
        "realm": f"http://127.0.0.1:{port}/oauth2/token",
        "service": f"127.0.0.1:{port}",
        "issuer": ACR_ISSUER,
        "rootcertbundle": str(directory / "root.pem"),
    }
    with _distribution(program, directory, auth={"token": token}) as url:
        yield AzureRegistry(url, port, key, certificate.public_bytes(Encoding.DER))


@dataclass(frozen=True, slots=True)
class AzureRegistry:
    """A distribution at `behind` that lets in who has a token signed with `key`. The registry's own address,
    with what gives those tokens, is at `port`, for a test to serve."""

    behind: str
    port: int
    key: ec.EllipticCurvePrivateKey
    certificate: bytes


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ACR_ISSUER)]), utc_now()
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, SHA256())


@contextmanager
def _distribution(program: str, directory: Path, **more: Any) -> Iterator[str]:
    port = free_port()
    config = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "data")},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": ""},
        },
        "http": {"addr": f"127.0.0.1:{port}", "relativeurls": True, "secret": "x" * 32},
        **more,
    }
    (directory / "config.yml").write_text(json.dumps(config))
    with (directory / "log").open("wb") as log:
        running = subprocess.Popen(
            [program, "serve", str(directory / "config.yml")],
            env={"PATH": os.defpath},
            stderr=log,
            stdout=log,
        )
    try:
        _wait_until_listening(running, port, directory / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(20)


def _wait_until_listening(running: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline_s = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert running.poll() is None and time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.02)
