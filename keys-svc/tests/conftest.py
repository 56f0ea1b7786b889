import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from aiokafka import AIOKafkaProducer
from ams.audit.v1.events_pb2 import AuditRecord
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.identity.v1.events_pb2 import ConsumerChanged, IdentityEvent, Standing
from ams.identity.v1.notifications_pb2 import Notification
from ams.keys.v1 import (
    exposures_service_pb2,
    exposures_service_pb2_grpc,
    grants_service_pb2,
    grants_service_pb2_grpc,
    key_settings_service_pb2,
    key_settings_service_pb2_grpc,
    service_consumers_service_pb2,
    service_consumers_service_pb2_grpc,
)
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams.keys.v1.events_pb2 import KeySnapshot
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common import topics
from ams_common.client import ServiceToken, invoke, open_channel
from ams_common.clock import to_timestamp, utc_now
from ams_common.database import Database
from ams_common.etags import EFFECTIVE_BY
from ams_common.ids import uuid7
from ams_common.outbox import Deliveries, OutboxRelay, RedisDestination
from ams_common.ports import free_port
from ams_common.pseudonyms import Pseudonyms
from ams_common.server import build_server
from ams_common.testing.plugin import Schema
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier
from ams_local.redis import Redis as RedisServer
from google.protobuf.message_factory import GetMessageClass
from keys_svc.catalog import Catalog
from keys_svc.event_handlers import apply_identity_events
from keys_svc.key_activity import KeyActivities, KeyCosts
from keys_svc.rpc import KeysService, Servicers
from keys_svc.rpc.exposures import ExposuresService
from keys_svc.rpc.grants import GrantsService
from keys_svc.rpc.key_settings import KeySettingsService
from keys_svc.rpc.service_consumers import ServiceConsumersService
from keys_svc.secret_scanning import ScanningKeys
from keys_svc.store import Store
from keys_svc.testing import ROLES, Team
from redis.asyncio import Redis


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("keys", "keys_svc", Store)


@pytest.fixture
async def catalog(nobody_listens: str) -> AsyncIterator[Catalog]:
    """The real client, of a catalog-svc that can't be reached."""
    async with open_channel(nobody_listens) as channel:
        token = ServiceToken(channel, "keys-svc", "development-secret")
        yield Catalog(catalog_rpc.CatalogServiceStub(channel), token)


@pytest.fixture
def deliveries(database: Database[Store]) -> Deliveries:
    # No relay delivers what most tests write: nothing is gained by waiting for it.
    return Deliveries(database, wait_s=0.01)


@pytest.fixture
def servicer(database: Database[Store], deliveries: Deliveries, catalog: Catalog) -> KeysService:
    return KeysService(database=database, deliveries=deliveries, catalog=catalog)


@pytest.fixture
def pseudonyms() -> Pseudonyms:
    return Pseudonyms("a key for tests")


@pytest.fixture
def scanning_keys() -> ScanningKeys:
    """Of no code host; tests of reports have their own."""
    return ScanningKeys(None)


@pytest.fixture
async def servicers(
    database: Database[Store],
    servicer: KeysService,
    deliveries: Deliveries,
    pseudonyms: Pseudonyms,
    scanning_keys: ScanningKeys,
    nobody_listens: str,
) -> AsyncIterator[Servicers]:
    """All services, with usage-svc and billing-svc away."""
    async with open_channel(nobody_listens) as away:
        token = ServiceToken(away, "keys-svc", "development-secret")
        yield Servicers(
            keys=servicer,
            key_settings=KeySettingsService(
                database=database, deliveries=deliveries, activities=KeyActivities(away, token)
            ),
            grants=GrantsService(database=database, deliveries=deliveries),
            service_consumers=ServiceConsumersService(
                database=database, deliveries=deliveries, pseudonyms=pseudonyms
            ),
            exposures=ExposuresService(
                database=database, scanning_keys=scanning_keys, costs=KeyCosts(away, token)
            ),
        )


@pytest.fixture
async def channel(issuer: TestIssuer, servicers: Servicers) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the real server, on this test's database."""
    server = build_server(TokenVerifier(issuer), servicers.served())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


_CONTRACTS = (
    (pb, rpc.KeysServiceStub),
    (key_settings_service_pb2, key_settings_service_pb2_grpc.KeySettingsServiceStub),
    (grants_service_pb2, grants_service_pb2_grpc.GrantsServiceStub),
    (service_consumers_service_pb2, service_consumers_service_pb2_grpc.ServiceConsumersServiceStub),
    (exposures_service_pb2, exposures_service_pb2_grpc.ExposuresServiceStub),
)


class Caller:
    """Somebody signed in, who calls RPCs: `await caller("GetKey", key_id=…)`. Raises AppError.

    As nothing is relayed in most tests, all answers would say by when they hold: a caller hears nothing of
    that unless it is `told_when`.
    """

    told_when = False

    def __init__(self, channel: grpc.aio.Channel, token: str | None, user_id: UUID) -> None:
        self._methods: dict[str, tuple[Any, Any]] = {}
        for module, stub_type in _CONTRACTS:
            stub = stub_type(channel)
            [service] = module.DESCRIPTOR.services_by_name.values()
            for method in service.methods:
                request_type = GetMessageClass(method.input_type)
                self._methods[method.name] = getattr(stub, method.name), request_type
        self._token = token
        self.user_id = user_id

    async def __call__(self, method: str, **fields: Any) -> Any:
        call, request_type = self._methods[method]
        answer = await invoke(call, request_type(**fields), token=self._token)
        told: Any = answer.key if isinstance(answer, key_settings_service_pb2.RotateKeyResponse) else answer
        if not self.told_when and EFFECTIVE_BY in told.DESCRIPTOR.fields_by_name:
            told.ClearField(EFFECTIVE_BY)
        return answer


@pytest.fixture
def new_consumer(channel: grpc.aio.Channel, issuer: TestIssuer) -> Callable[[], Caller]:
    def make() -> Caller:
        user_id = uuid7()
        return Caller(channel, issuer.user_token(user_id, CONSUMER), user_id)

    return make


@pytest.fixture
def consumer(new_consumer: Callable[[], Caller]) -> Caller:
    return new_consumer()


@pytest.fixture
def outsider(new_consumer: Callable[[], Caller]) -> Caller:
    """Another consumer, who knows the ids of what the first one has."""
    return new_consumer()


@pytest.fixture
def admin(channel: grpc.aio.Channel, issuer: TestIssuer) -> Caller:
    user_id = uuid7()
    return Caller(channel, issuer.user_token(user_id, ADMIN), user_id)


@pytest.fixture
def merchant(channel: grpc.aio.Channel, issuer: TestIssuer) -> Caller:
    user_id = uuid7()
    return Caller(channel, issuer.user_token(user_id, MERCHANT), user_id)


@pytest.fixture
def other_merchant(channel: grpc.aio.Channel, issuer: TestIssuer) -> Caller:
    user_id = uuid7()
    return Caller(channel, issuer.user_token(user_id, MERCHANT), user_id)


@pytest.fixture
def nobody(channel: grpc.aio.Channel) -> Caller:
    """Somebody who isn't signed in."""
    return Caller(channel, None, uuid7())


@pytest.fixture
def registry(channel: grpc.aio.Channel, issuer: TestIssuer) -> Caller:
    return Caller(channel, issuer.service_token("registry-svc"), uuid7())


@pytest.fixture
def gateway(channel: grpc.aio.Channel, issuer: TestIssuer) -> Caller:
    return Caller(channel, issuer.service_token("gateway"), uuid7())


RequestAccess = Callable[..., Awaitable[str]]


@pytest.fixture
def request_access(database: Database[Store]) -> RequestAccess:
    """`await request_access(consumer, service_id)`: the id of a pending request, made without the catalog."""

    async def add(
        caller: Caller,
        service_id: UUID | None = None,
        *,
        merchant_id: UUID | None = None,
        project_id: UUID | None = None,
        owner_id: UUID | None = None,
    ) -> str:
        async with database.change_by_system("set up", audited=False) as change:
            await change.store.lock_consumer(owner_id or caller.user_id)
            added = await change.store.access.add_access_request(
                access_request_id=uuid7(),
                consumer_id=owner_id or caller.user_id,
                project_id=project_id,
                service_id=service_id or uuid7(),
                merchant_id=merchant_id or uuid7(),
                note="please",
                requested_at=utc_now(),
                requested_by=caller.user_id,
            )
        assert added is not None
        return str(added.access_request_id)

    return add


@pytest.fixture
def grant(request_access: RequestAccess, admin: Caller) -> Callable[..., Awaitable[str]]:
    """`await grant(consumer)`: the id of a service that the consumer was given access to. Takes what
    `request_access` does."""

    async def approve(caller: Caller, service_id: UUID | None = None, **more: UUID) -> str:
        request_id = await request_access(caller, service_id, **more)
        approved = await admin("ApproveAccess", access_request_id=request_id)
        return str(approved.service_id)

    return approve


@pytest.fixture
async def team(new_consumer: Any, database: Database[Store]) -> Team:
    async def apply(event: IdentityEvent) -> None:
        async with database.change_by_system("consume", audited=False) as change:
            await apply_identity_events(change, [event])

    made = Team({name: new_consumer() for name in ROLES}, apply)
    await made.tell()
    return made


@pytest.fixture
def team_service(team: Team, grant: Any) -> Callable[[], Awaitable[str]]:
    """A service that the project has access to."""

    async def give() -> str:
        service_id: str = await grant(team.owner, project_id=team.project_id, owner_id=team.owner.user_id)
        return service_id

    return give


@pytest.fixture
def new_key(grant: Any) -> Callable[..., Awaitable[pb.CreateKeyResponse]]:
    """`await new_key(consumer)`: a key for a newly granted service, or for these."""

    async def create(
        caller: Caller, ttl_days: int = 30, service_ids: Sequence[str] = (), **more: Any
    ) -> pb.CreateKeyResponse:
        created: pb.CreateKeyResponse = await caller(
            "CreateKey",
            name="ci",
            service_ids=service_ids or [await grant(caller)],
            ttl_days=ttl_days,
            **more,
        )
        return created

    return create


class Written:
    """What the service's database holds, and what waits in its outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, table: str) -> int:
        async with self._database.connection() as connection:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def audits(self, action: str) -> list[AuditRecord]:
        rows = await self._outbox("kafka", topics.AUDIT_EVENTS)
        return [record for payload in rows if (record := AuditRecord.FromString(payload)).action == action]

    async def snapshots(self, redis_key: str) -> list[KeySnapshot]:
        """A key's snapshots in the order in which they will reach Redis."""
        return [KeySnapshot.FromString(payload) for payload in await self._outbox("redis", redis_key)]

    async def notifications(self, kind: str) -> list[Notification]:
        """What people are to be told of one kind, by its name in the contract."""
        payloads = await self._outbox("kafka", topics.NOTIFICATIONS)
        told = [Notification.FromString(payload) for payload in payloads]
        return [each for each in told if each.WhichOneof("message") == kind]

    async def dead_letters(self) -> int:
        return await self.count("dead_letters")

    async def everything(self) -> dict[str, str]:
        """All rows of all tables as text, by table; bytes are in hex."""
        async with self._database.connection() as connection:
            tables = await connection.fetch(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
            )
            return {
                name: str(await connection.fetchval(f"SELECT string_agg(t::text, ' ') FROM {name} AS t"))
                for (name,) in tables
            }

    async def _outbox(self, destination: str, topic: str) -> list[bytes]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT payload FROM outbox WHERE destination = $1 AND topic = $2 ORDER BY outbox_id",
                destination,
                topic,
            )
        return [row["payload"] for row in rows]


@pytest.fixture
def written(database: Database) -> Written:
    return Written(database)


@pytest.fixture
def somebody_waits(database: Database) -> Callable[[], Awaitable[bool]]:
    """Whether a transaction in this test's database waits for another's lock."""

    async def check() -> bool:
        async with database.connection() as connection:
            return bool(
                await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            )

    return check


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A server that is this test's alone, to be filled, made to refuse or restored."""
    server = RedisServer(tmp_path, free_port(), throwaway=True)
    server.launch()
    async with Redis.from_url(await asyncio.to_thread(server.wait)) as client:
        yield client
    server.stop()


@pytest.fixture
def relaying(database_url: str) -> Callable[[Redis], AbstractAsyncContextManager[None]]:
    """`async with relaying(redis):` snapshots are delivered meanwhile."""

    @asynccontextmanager
    async def run(redis: Redis) -> AsyncIterator[None]:
        task = asyncio.create_task(OutboxRelay(database_url, RedisDestination(redis)).run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return run


def _standing_event(consumer_id: UUID | str, standing: Standing.ValueType, version: int = 0) -> IdentityEvent:
    return IdentityEvent(
        event_id=str(uuid7()),
        occurred_at=to_timestamp(utc_now()),
        consumer_changed=ConsumerChanged(
            consumer_id=str(consumer_id), standing=standing, standing_version=version
        ),
    )


@pytest.fixture(scope="session")
def standing_event() -> Callable[..., IdentityEvent]:
    return _standing_event


@pytest.fixture
def apply_standing(database: Database[Store]) -> Callable[..., Awaitable[None]]:
    """`await apply_standing(consumer_id, STANDING_BLOCKED)`: the event is handled, without Kafka."""

    async def handle(consumer_id: UUID, standing: Standing.ValueType, version: int = 0) -> None:
        async with database.change_by_system("consume", audited=False) as change:
            await apply_identity_events(change, [_standing_event(consumer_id, standing, version)])

    return handle


@pytest.fixture
async def send_to(kafka_bootstrap: str, topic_prefix: str) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """`await send_to(topic, *payloads)` publishes them in order, in one partition."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()

    async def publish(topic: str, *payloads: bytes) -> None:
        for payload in payloads:
            await producer.send_and_wait(topic_prefix + topic, payload, key=b"one")

    yield publish
    await producer.stop()


@pytest.fixture
def send(send_to: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """`await send(*payloads)` publishes them on identity.events."""
    return partial(send_to, topics.IDENTITY_EVENTS)


@pytest.fixture
async def start_service(
    database_url: str,
    redis_url: str,
    kafka_bootstrap: str,
    topic_prefix: str,
    nobody_listens: str,
    tmp_path: Path,
) -> AsyncIterator[Callable[..., Awaitable[asyncio.subprocess.Process]]]:
    """Starts the real process, `python -m keys_svc`, on a port. identity-svc and catalog-svc are away, unless
    other settings say where they are."""
    environment = {
        **os.environ,
        "AMS_ENVIRONMENT": "test",
        "KEYS_DATABASE_URL": database_url,
        "IDENTITY_ADDRESS": nobody_listens,
        "CATALOG_ADDRESS": nobody_listens,
        "USAGE_ADDRESS": nobody_listens,
        "BILLING_ADDRESS": nobody_listens,
        "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
    }
    processes: list[asyncio.subprocess.Process] = []
    with (tmp_path / "keys-svc.log").open("wb") as log:

        async def start(port: int, **others: str) -> asyncio.subprocess.Process:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "keys_svc",
                env={**environment, "KEYS_LISTEN": f"127.0.0.1:{port}", **others},
                stderr=log,
            )
            processes.append(process)
            return process

        yield start
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
