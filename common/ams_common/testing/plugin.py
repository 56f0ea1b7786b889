"""The fixtures; loaded by the conftest.py at the project's root."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grpc
import hypothesis
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from redis.asyncio import Redis

from ams_common import audit_log
from ams_common.database import Database
from ams_common.interceptors import TRANSACTION_UNDONE
from ams_common.migrations import migrate
from ams_common.provision import make_extensions, unprovision
from ams_common.queries import QueryStore
from ams_common.server import build_server
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier

# On a busy machine an example may take any time, and the first one builds Hypothesis's tables of
# characters: neither is a fault of the code under test.
hypothesis.settings.register_profile(
    "ams", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("ams")


@dataclass(frozen=True, slots=True)
class Schema:
    """A service's schema and the package that holds its migrations."""

    name: str
    package: str
    store: type[QueryStore] = QueryStore


def _from_environment(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.fail(f"{variable} is not set: run the tests through `make test`, which starts real servers")
    return value


def with_database(url: str, database: str, user: str | None = None, password: str | None = None) -> str:
    """`url` with another database, and another user where given."""
    parts = urlsplit(url)
    netloc = parts.netloc if user is None else f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


@pytest.fixture(scope="session")
def admin_database_url() -> str:
    """An administrator's URL of the PostgreSQL server."""
    return _from_environment("DATABASE_URL")


@pytest.fixture(scope="session")
def redis_url() -> str:
    return _from_environment("REDIS_URL")


@pytest.fixture(scope="session")
def kafka_bootstrap() -> str:
    return _from_environment("KAFKA_BOOTSTRAP_SERVERS")


@pytest.fixture
def topic_prefix() -> str:
    """Makes the topics of this test its own."""
    return f"t{secrets.token_hex(6)}."


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@dataclass(frozen=True, slots=True)
class Template:
    """A migrated database to clone, and the password of the role of the same name that owns its schema."""

    database: str
    password: str


@pytest.fixture(scope="session")
def templates(admin_database_url: str) -> Iterator[Callable[[Schema], Template]]:
    """The template of a schema, made when it is first asked for. Packages share the session, so a fixture of
    the session that took `schema` itself would give every package the first one's."""
    made: dict[Schema, Template] = {}

    def template_of(schema: Schema) -> Template:
        if schema not in made:
            made[schema] = Template(f"template_{schema.name}_{secrets.token_hex(4)}", secrets.token_hex(8))
            asyncio.run(_create_template(admin_database_url, made[schema], schema))
        return made[schema]

    yield template_of
    for schema, template in made.items():
        asyncio.run(unprovision(admin_database_url, template.database, {schema.name: template.database}))


async def _create_template(admin_url: str, template: Template, schema: Schema) -> None:
    name = template.database
    await _execute(
        admin_url, f"CREATE ROLE {name} LOGIN PASSWORD '{template.password}'", f"CREATE DATABASE {name}"
    )
    await _execute(
        with_database(admin_url, name),
        f"CREATE SCHEMA {schema.name} AUTHORIZATION {name}",
        f"ALTER ROLE {name} SET search_path = {schema.name}",
    )
    admin = await asyncpg.connect(with_database(admin_url, name))
    await make_extensions(admin, schema.name)
    if schema.name == audit_log.WRITER_SCHEMA:
        await audit_log.prepare(admin, name)
    await admin.close()
    await migrate(with_database(admin_url, name, name, template.password), schema.package)


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def database_url(
    admin_database_url: str, schema: Schema, templates: Callable[[Schema], Template]
) -> AsyncIterator[str]:
    """A fresh database for this test, cloned from the migrated template; the service's own role."""
    template = await asyncio.to_thread(templates, schema)
    name = f"test_{secrets.token_hex(6)}"
    await _execute(admin_database_url, f"CREATE DATABASE {name} TEMPLATE {template.database}")
    yield with_database(admin_database_url, name, template.database, template.password)
    await _execute(admin_database_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str, schema: Schema) -> AsyncIterator[Database]:
    async with Database.open(database_url, schema.store, size=5) as opened:
        yield opened


@pytest.fixture
def nobody_listens() -> Iterator[str]:
    """An address that refuses connections: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="session")
def issuer() -> TestIssuer:
    """Signs access tokens as identity-svc does, with a key of its own."""
    return TestIssuer()


@pytest.fixture
def no_deadlock(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails the test in which PostgreSQL has ended an RPC's transaction, for it and another waited for each
    other: the RPC is served once more, and its caller sees nothing."""
    yield
    undone = [record for record in caplog.get_records("call") if record.message == TRANSACTION_UNDONE]
    assert not undone, [record.__dict__ for record in undone]


Serve = Callable[..., "asyncio.Future[grpc.aio.Channel]"]


@pytest.fixture
async def serve_rpc(issuer: TestIssuer) -> AsyncIterator[Serve]:
    """`channel = await serve_rpc(descriptor, add_servicer)`: the real server, on a port of its own."""
    async with AsyncExitStack() as stack:

        async def serve(
            descriptor: ServiceDescriptor, add_servicer: Callable[[grpc.aio.Server], None]
        ) -> grpc.aio.Channel:
            server = build_server(TokenVerifier(issuer), [(descriptor, add_servicer)])
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, None)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            stack.push_async_callback(channel.close)
            return channel

        yield serve  # type: ignore[misc]
