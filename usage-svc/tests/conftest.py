"""What the tests of usage-svc share."""

import asyncio
import os
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast
from uuid import UUID

import grpc
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ams.billing.v1 import billing_service_pb2 as billing
from ams.billing.v1 import billing_service_pb2_grpc as billing_rpc
from ams.catalog.v1 import catalog_service_pb2 as catalog
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2 as keys
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import (
    ANSWERED,
    UNCHARGED,
    Outcome,
    UsageEvent,
    UsageEventBatch,
    UsageTotal,
    UsageTotalBatch,
)
from ams_common import topics
from ams_common.client import ServiceToken
from ams_common.clock import to_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.live_answers import LiveAnswers
from ams_common.pseudonyms import Pseudonyms
from ams_common.subscriptions import Batch, Record, Rejection
from ams_common.testing.plugin import Schema
from ams_common.testing.tokens import TestIssuer
from usage_svc.event_handlers import UsageIntake
from usage_svc.file_store import FileStore
from usage_svc.invariants import find_broken
from usage_svc.partitions import Partitions
from usage_svc.questions.answers import Questions
from usage_svc.reporting.facts import FactSources
from usage_svc.rpc.service import UsageService
from usage_svc.store import Store
from usage_svc.testing import BillingServer, CatalogServer, KeysServer


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("usage", "usage_svc", Store)


@dataclass(frozen=True)
class Subject:
    """Whose requests are metered, and of which service."""

    consumer_id: UUID = field(default_factory=uuid7)
    merchant_id: UUID = field(default_factory=uuid7)
    service_id: UUID = field(default_factory=uuid7)
    api_key_id: UUID = field(default_factory=uuid7)
    price_version_id: UUID = field(default_factory=uuid7)
    key_prefix: str = field(default_factory=lambda: f"ams_live_{uuid7().hex[-8:]}")
    project_id: UUID | None = None

    def event(
        self,
        at: datetime | None = None,
        *,
        outcome: Outcome.ValueType = ANSWERED,
        status_code: int = 200,
        request_bytes: int = 10,
        response_bytes: int = 100,
        response_time_ms: int = 7,
        **more: Any,
    ) -> UsageEvent:
        """The event of a request that was just metered, unless `at` says when."""
        return UsageEvent(
            event_id=uuid7().bytes,
            timestamp=to_timestamp(at or utc_now()),
            consumer_id=str(self.consumer_id),
            api_key_id=str(self.api_key_id),
            service_id=str(self.service_id),
            merchant_id=str(self.merchant_id),
            project_id=str(self.project_id or ""),
            price_version_id=str(self.price_version_id),
            key_prefix=self.key_prefix,
            request_payload_size_bytes=request_bytes,
            response_payload_size_bytes=response_bytes,
            response_time_ms=response_time_ms,
            status_code=status_code,
            outcome=outcome,
            **more,
        )


@pytest.fixture(scope="session")
def new_subject() -> type[Subject]:
    """`new_subject(consumer_id=…)`: another key of another consumer for another service, unless named."""
    return Subject


@pytest.fixture
def subject() -> Subject:
    return Subject()


Group = tuple[str, ...]


def greatest(totals: Sequence[UsageTotal]) -> dict[Group, UsageTotal]:
    """What billing holds when it was told `totals`, in whatever order: of each group the greatest figures."""
    held: dict[Group, UsageTotal] = {}
    for total in totals:
        names = ("day", "merchant_id", "consumer_id", "project_id", "api_key_id", "service_id")
        group = (*(getattr(total, name) for name in names), str(total.charge_class))
        known = held.setdefault(group, total)
        for name in ("requests", "request_bytes", "response_bytes"):
            setattr(known, name, max(getattr(known, name), getattr(total, name)))
    return held


def sum_totals(totals: Sequence[UsageTotal]) -> Counter[str]:
    """requests, billable and bytes of what billing holds."""
    sums: Counter[str] = Counter()
    for total in greatest(totals).values():
        sums["requests"] += total.requests
        sums["billable"] += total.requests if total.charge_class != UNCHARGED else 0
        sums["sent"] += total.request_bytes
        sums["received"] += total.response_bytes
    return sums


@pytest.fixture(scope="session", name="sums_of_totals")
def sums_of_totals_fixture() -> Callable[[Sequence[UsageTotal]], Counter[str]]:
    """`sums_of_totals(totals)`: requests, billable and bytes of what billing holds when it was told those."""
    return sum_totals


class CountedUsage:
    """What the database says was counted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def raw(self) -> Counter[str]:
        """requests, billable and bytes of the raw events."""
        sums = (
            "count(*) FILTER (WHERE NOT is_continuation) AS requests, count(*) FILTER"
            " (WHERE charge_class <> 4 AND NOT is_continuation AND NOT is_test) AS billable,"
        )
        return await self._sums(
            f"SELECT {sums} sum(request_bytes) AS sent, sum(response_bytes) AS received FROM usage_events"
        )

    async def rolled_up(self, granularity: str) -> Counter[str]:
        """requests, billable and bytes of the rollups of one granularity."""
        sums = "sum(requests) AS requests, sum(billable_requests) AS billable,"
        return await self._sums(
            f"SELECT {sums} sum(request_bytes) AS sent, sum(response_bytes) AS received"
            f" FROM rollups_by_{granularity} JOIN series USING (series_id)"
        )

    async def totals(self) -> list[UsageTotal]:
        """The totals that wait in the outbox, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT payload FROM outbox WHERE topic = $1 ORDER BY outbox_id", topics.USAGE_AGGREGATED
            )
        return [total for row in rows for total in UsageTotalBatch.FromString(row["payload"]).totals]

    async def told(self) -> Counter[str]:
        """requests, billable and bytes of what billing was told."""
        return sum_totals(await self.totals())

    async def outbox_is_empty(self) -> bool:
        async with self._database.connection() as connection:
            return not await connection.fetchval("SELECT count(*) FROM outbox")

    async def dead_letters(self) -> list[str]:
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT error FROM dead_letters ORDER BY partition, message_offset")
        return [row["error"] for row in rows]

    async def broken_invariants(self) -> dict[str, int]:
        """The invariants that don't hold, and how many rows break each."""
        async with self._database.read() as store:
            return await find_broken(store.connection)

    async def _sums(self, sql: str, *arguments: str) -> Counter[str]:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(sql, *arguments)
        return Counter({name: int(value or 0) for name, value in row.items()})


@pytest.fixture
def figures(database: Database) -> CountedUsage:
    return CountedUsage(database)


IngestBatch = Callable[..., Awaitable[Sequence[Rejection]]]
SOURCE = "11111111-1111-4111-8111-111111111111/0"


@pytest.fixture
def ingest(database: Database[Store]) -> IngestBatch:
    """Handles one batch as the consumer does, in a transaction of its own; returns what can't be counted."""
    intake = UsageIntake(Partitions(database))
    next_offset = 0

    async def handle(events: Sequence[UsageEvent], *, source: str = SOURCE) -> Sequence[Rejection]:
        nonlocal next_offset
        records = [
            Record(next_offset + index, None, event.SerializeToString()) for index, event in enumerate(events)
        ]
        next_offset += len(records)
        prepared, rejections = intake.prepare(Batch(source, records))
        await intake.make_ready(prepared)
        async with database.change_by_system("consume", audited=False) as change:
            await intake.apply(change, prepared)
        return rejections

    return handle


@pytest.fixture(scope="session")
def pseudonyms() -> Pseudonyms:
    return Pseudonyms("the tests' key")


@pytest.fixture
def questions(database: Database[Store], pseudonyms: Pseudonyms) -> Questions:
    return Questions(database=database, pseudonyms=pseudonyms)


class OwnToken:
    """usage-svc's own, without asking identity-svc."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get(self) -> str:
        return self._token


@pytest.fixture
def own_token(issuer: TestIssuer) -> ServiceToken:
    return cast("ServiceToken", OwnToken(issuer.service_token("usage-svc")))


@pytest.fixture
def catalog_server() -> CatalogServer:
    return CatalogServer()  # type: ignore[abstract]  # gRPC answers UNIMPLEMENTED for the others


@pytest.fixture
def keys_server() -> KeysServer:
    return KeysServer()  # type: ignore[abstract]


@pytest.fixture
def billing_server() -> BillingServer:
    return BillingServer()  # type: ignore[abstract]


@pytest.fixture
async def sources(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]],
    catalog_server: CatalogServer,
    keys_server: KeysServer,
    billing_server: BillingServer,
    own_token: ServiceToken,
) -> FactSources:
    return FactSources(
        catalog_channel=await serve_rpc(
            catalog.DESCRIPTOR.services_by_name["CatalogService"],
            partial(catalog_rpc.add_CatalogServiceServicer_to_server, catalog_server),
        ),
        keys_channel=await serve_rpc(
            keys.DESCRIPTOR.services_by_name["KeysService"],
            partial(keys_rpc.add_KeysServiceServicer_to_server, keys_server),
        ),
        billing_channel=await serve_rpc(
            billing.DESCRIPTOR.services_by_name["BillingService"],
            partial(billing_rpc.add_BillingServiceServicer_to_server, billing_server),
        ),
        token=own_token,
    )


@pytest.fixture
def live() -> LiveAnswers[pb.UsageReport]:
    """Looks more often than in production, so that nobody waits for a second."""
    return LiveAnswers(interval_s=0.05)


@pytest.fixture
def archive(tmp_path: Path) -> FileStore:
    """Where raw events go that the database keeps no longer."""
    return FileStore(str(tmp_path / "archive"))


@pytest.fixture
async def channel(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]],
    database: Database[Store],
    pseudonyms: Pseudonyms,
    questions: Questions,
    live: LiveAnswers[pb.UsageReport],
    archive: FileStore,
) -> grpc.aio.Channel:
    """A channel to the real server, on this test's database."""
    service = UsageService(
        database=database,
        pseudonyms=pseudonyms,
        questions=questions,
        live=live,
        archive=archive,
    )
    add = partial(rpc.add_UsageServiceServicer_to_server, service)
    return await serve_rpc(pb.DESCRIPTOR.services_by_name["UsageService"], add)


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> rpc.UsageServiceStub:
    return rpc.UsageServiceStub(channel)


@pytest.fixture
async def usage_topic(kafka_bootstrap: str, topic_prefix: str) -> str:
    """This test's usage.events, of four partitions, and a usage.aggregated of one."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        events, aggregated = topic_prefix + topics.USAGE_EVENTS, topic_prefix + topics.USAGE_AGGREGATED
        await admin.create_topics([NewTopic(events, 4, 1), NewTopic(aggregated, 1, 1)])
    finally:
        await admin.close()
    return events


class Send(Protocol):
    async def __call__(self, events: Sequence[UsageEvent], *, per_record: int = 1) -> None: ...


@pytest.fixture
async def send(kafka_bootstrap: str, usage_topic: str) -> AsyncIterator[Send]:
    """Sends events keyed by consumer, as the gateway does: several in a record, or one by itself as older
    gateways do. Returns when Kafka has them all."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, linger_ms=5)
    await producer.start()

    async def send_all(events: Sequence[UsageEvent], *, per_record: int = 1) -> None:
        sent = [
            await producer.send(usage_topic, value, key=consumer_id.encode())
            for consumer_id, value in _values(events, per_record)
        ]
        await asyncio.gather(*sent)

    yield send_all
    await producer.stop()


def _values(events: Sequence[UsageEvent], per_record: int) -> Iterator[tuple[str, bytes]]:
    if per_record == 1:
        yield from ((event.consumer_id, event.SerializeToString()) for event in events)
        return
    groups: defaultdict[str, list[UsageEvent]] = defaultdict(list)
    for event in events:
        groups[event.consumer_id].append(event)
    for consumer_id, group in groups.items():
        for start in range(0, len(group), per_record):
            yield consumer_id, UsageEventBatch(events=group[start : start + per_record]).SerializeToString()


StartService = Callable[[], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start_service(
    database_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[StartService]:
    """Starts the real process, `python -m usage_svc`. identity-svc is away: no token is checked here."""
    environment = {
        **os.environ,
        "AMS_ENVIRONMENT": "test",
        "USAGE_DATABASE_URL": database_url,
        "USAGE_LISTEN": "127.0.0.1:0",
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "BILLING_ADDRESS": "127.0.0.1:1",
        "CATALOG_ADDRESS": "127.0.0.1:1",
        "KEYS_ADDRESS": "127.0.0.1:1",
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
    }
    processes: list[asyncio.subprocess.Process] = []
    with (tmp_path / "usage-svc.log").open("wb") as log:

        async def start() -> asyncio.subprocess.Process:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "usage_svc", env=environment, stderr=log
            )
            processes.append(process)
            return process

        yield start
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
