"""From Kafka to invoices: usage-svc and billing-svc on databases of their own, in this process, on a real
Kafka. What works in the background of both runs only while `running()`; identity-svc isn't needed."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ams.billing.v1 import billing_service_pb2 as billing_pb
from ams.billing.v1 import billing_service_pb2_grpc as billing_rpc
from ams.dead_letters.v1 import dead_letters_service_pb2 as letters_pb
from ams.dead_letters.v1 import dead_letters_service_pb2_grpc as letters_rpc
from ams.policy.v1.policy_pb2 import ADMIN
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams.usage.v1 import usage_service_pb2_grpc as usage_rpc
from ams.usage.v1.events_pb2 import ANSWERED, ForwardedTotal, UsageEvent, UsageEventBatch
from ams_common import topics
from ams_common.client import invoke
from ams_common.clock import to_timestamp, utc_now
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.dead_letters import DeadLetters
from ams_common.dead_letters_service import dead_letters_service
from ams_common.ids import uuid7
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.plugin import Schema, Serve, Template, with_database
from ams_common.testing.tokens import TestIssuer
from billing_svc import store as billing_store
from billing_svc.__main__ import ensure_commission_rate
from billing_svc.drafting import keep_drafts
from billing_svc.event_handlers import SUBSCRIPTIONS
from billing_svc.proofs.digests import add_digests
from billing_svc.reconciliation_store import DayScope, ReconciliationStore
from billing_svc.rpc import BillingService
from billing_svc.testing import Billing, Events, PricedService, SetClock
from billing_svc.usage_client import UsageClient
from google.protobuf.message import Message
from usage_svc import store as usage_store
from usage_svc.event_handlers import topic_handlers
from usage_svc.file_store import FileStore
from usage_svc.invariants import find_broken
from usage_svc.proofs.closing import close_days
from usage_svc.questions.answers import Questions
from usage_svc.retention.keeping import Retention
from usage_svc.rpc.service import UsageService

_TIMEOUT_S = 60.0
_PAUSE_S = 0.1
_JOURNAL = uuid7().bytes


@dataclass(frozen=True)
class Caller:
    """Who calls a service with which key."""

    priced: PricedService
    consumer_id: UUID = field(default_factory=uuid7)
    api_key_id: UUID = field(default_factory=uuid7)

    def event(self, at: datetime, **fields: Any) -> UsageEvent:
        known: dict[str, Any] = {
            "outcome": ANSWERED,
            "status_code": 200,
            "request_payload_size_bytes": 10,
            "response_payload_size_bytes": 100,
        }
        return UsageEvent(
            event_id=uuid7().bytes,
            timestamp=to_timestamp(at),
            consumer_id=str(self.consumer_id),
            api_key_id=str(self.api_key_id),
            service_id=str(self.priced.service_id),
            merchant_id=str(self.priced.merchant_id),
            price_version_id=str(self.priced.price_version_id),
            key_prefix="ams_live_abcdefgh",
            response_time_ms=5,
            **known | fields,
        )

    def forwarded(self, day: date, events: int, journal_id: bytes = _JOURNAL) -> ForwardedTotal:
        return ForwardedTotal(
            journal_id=journal_id,
            day=day.isoformat(),
            merchant_id=str(self.priced.merchant_id),
            consumer_id=str(self.consumer_id),
            events=events,
        )


@dataclass
class UsagePipeline:
    """Both services; `billing` and `events` as in billing-svc's own tests."""

    billing: Billing
    events: Events
    usage: Database[usage_store.Store]
    pseudonyms: Pseudonyms
    _usage_client: UsageClient
    _letters: letters_rpc.DeadLettersServiceStub  # of usage-svc
    _usage_url: str
    _billing_url: str
    _kafka: str
    _prefix: str
    _producer: AIOKafkaProducer
    _archive: FileStore

    async def send(self, events: Sequence[UsageEvent], forwarded: Sequence[ForwardedTotal] = ()) -> None:
        """As gateways do, a few events a record. Returns when Kafka has them."""
        for start in range(0, len(events), 3):
            batch = UsageEventBatch(events=events[start : start + 3])
            await self._send(topics.USAGE_EVENTS, events[start].consumer_id, batch)
        for total in forwarded:
            await self._send(topics.USAGE_FORWARDED, total.consumer_id, total)

    async def _send(self, topic: str, key: str, message: Message) -> None:
        await self._producer.send_and_wait(
            self._prefix + topic, message.SerializeToString(), key=key.encode()
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reads, counts and publishes meanwhile."""
        counting = [each for each in SUBSCRIPTIONS if each.topic == topics.USAGE_AGGREGATED]
        of_usage = topic_handlers(self.usage)
        work = [
            EventConsumer(self.usage, self._kafka, "usage-svc", of_usage, self._prefix).run(),
            OutboxRelay(self._usage_url, KafkaDestination(self._kafka, self._prefix)).run(),
            EventConsumer(self.billing.database, self._kafka, "billing-svc", counting, self._prefix).run(),
            keep_drafts(self.billing.database, self.billing.clock),
        ]
        tasks = [asyncio.create_task(each) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def rated(self, calls: int) -> None:
        """Returns when billing's counters have so many calls."""

        async def counted() -> bool:
            ((found,),) = await self.billing.rows("SELECT coalesce(sum(requests), 0) FROM usage_counters")
            return bool(found == calls)

        await until(counted)

    async def forwarded(self, events: int) -> None:
        """Returns when usage-svc has been told of so many forwarded events."""

        async def told() -> bool:
            async with self.usage.connection() as connection:
                found = await connection.fetchval("SELECT coalesce(sum(events), 0) FROM forwarded_totals")
            return bool(found == events)

        await until(told)

    async def drafted(self, calls: int) -> None:
        """Returns when drafts say so many calls."""

        async def said() -> bool:
            lines = [line for invoice in await self.billing.invoices() for line in invoice.lines]
            return sum(int(line.quantity) for line in lines) == calls

        await until(said)

    async def day_digests(self, day: date) -> tuple[dict[str, str], dict[str, str]]:
        """By merchant: usage-svc's, of what it has told, and billing-svc's, of its counters."""
        totals = await self._usage_client.list_day_totals(day, day, merchant_id=None, consumer_id=None)
        async with self.billing.database.read() as reading:
            counted = await ReconciliationStore(reading.connection).list_day_digests(
                **asdict(DayScope(day, day, None, None)), limit=100
            )
        told = {total.merchant_id: total.digest for total in totals}
        return told, {str(merchant_id): digest for (_, merchant_id), digest in counted}

    async def dead_letter(self) -> str:
        """Returns the id of usage-svc's only one that waits, when it is there."""
        found: list[letters_pb.DeadLetter] = []

        async def kept() -> bool:
            request = letters_pb.ListDeadLettersRequest(keeper="usage")
            answer = await self._ask(self._letters.ListDeadLetters, request)
            found[:] = answer.dead_letters
            return bool(found)

        await until(kept)
        (letter,) = found
        return letter.dead_letter_id

    async def replay(self, dead_letter_id: str, understood: Message) -> None:
        """Replays it as if the release understood it as `understood` by now."""
        async with self.usage.connection() as connection:
            await connection.execute(
                "UPDATE dead_letters SET payload = $2 WHERE dead_letter_id = $1",
                UUID(dead_letter_id),
                understood.SerializeToString(),
            )
        request = letters_pb.ReplayDeadLetterRequest(keeper="usage", dead_letter_id=dead_letter_id)
        await self._ask(self._letters.ReplayDeadLetter, request)

    async def _ask(self, method: Callable[..., Any], request: Message) -> Any:
        token = self.billing.issuer.user_token(uuid7(), ADMIN)
        return await invoke(method, request, token=token)

    async def close_days(self) -> int:
        return await close_days(self.usage, self.pseudonyms, utc_now())

    async def add_digests(self) -> int:
        """Gives invoices the digests of their roots; returns how many."""
        return await add_digests(self.billing.database, self._usage_client)

    async def archive_events(self) -> None:
        """Drops raw events of all days before today, once they are in the archive."""
        await Retention(
            database=self.usage,
            files=self._archive,
            keep_events_days=lambda: 0,
            keep_minutes_days=30,
            keep_trees_days=1100,
        ).run_once()

    async def change_usage(self, sql: str) -> None:
        """Does to usage-svc's database what no service does."""
        async with self.usage.connection() as connection:
            await connection.execute(sql)

    async def check(self) -> None:
        """No invariant of either service is broken."""
        async with self.usage.read() as store:
            assert await find_broken(store.connection) == {}
        await self.billing.check()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_TIMEOUT_S):
        while not await holds():  # noqa: ASYNC110 - a database tells nobody
            await asyncio.sleep(_PAUSE_S)


@asynccontextmanager
async def usage_pipeline(
    admin_url: str,
    templates: Callable[[Schema], Template],
    kafka: str,
    prefix: str,
    issuer: TestIssuer,
    serve_rpc: Serve,
    open_database: Callable[..., AbstractAsyncContextManager[Database]] = Database.open,
) -> AsyncIterator[UsagePipeline]:
    """`open_database`: who takes the place of Database.open() for both services."""
    async with AsyncExitStack() as stack:
        opened = stack.enter_async_context
        usage_url = await opened(
            _fresh(admin_url, templates, Schema("usage", "usage_svc", usage_store.Store))
        )
        billing_url = await opened(
            _fresh(admin_url, templates, Schema("billing", "billing_svc", billing_store.Store))
        )
        usage = await opened(open_database(usage_url, usage_store.Store, size=5))
        billing_database = await opened(open_database(billing_url, billing_store.Store, size=5))
        producer = await opened(AIOKafkaProducer(bootstrap_servers=kafka))
        await _make_topics(kafka, prefix)

        archive_url = stack.enter_context(tempfile.TemporaryDirectory())
        pseudonyms, clock = Pseudonyms("a key of these tests"), SetClock()
        clock.now = utc_now()
        proofs = UsageService(
            database=usage,
            pseudonyms=pseudonyms,
            archive=FileStore(archive_url),
            questions=Questions(database=usage, pseudonyms=pseudonyms),
        )
        usage_channel = await serve_rpc(
            usage_pb.DESCRIPTOR.services_by_name["UsageService"],
            partial(usage_rpc.add_UsageServiceServicer_to_server, proofs),
        )
        usage_stub = usage_rpc.UsageServiceStub(usage_channel)
        letters = DeadLetters(usage, topic_handlers(usage), prefix)
        letters_channel = await serve_rpc(*dead_letters_service("usage", letters))

        async def token() -> str:
            return issuer.service_token("billing-svc")

        usage_client = UsageClient(usage_stub, token)
        await ensure_commission_rate(billing_database, Decimal("0.10"))
        servicer = BillingService(
            database=billing_database,
            pseudonyms=pseudonyms,
            clock=clock,
            usage=usage_client,
        )
        channel = await serve_rpc(
            billing_pb.DESCRIPTOR.services_by_name["BillingService"],
            partial(billing_rpc.add_BillingServiceServicer_to_server, servicer),
        )
        billing = Billing(billing_rpc.BillingServiceStub(channel), issuer, billing_database, clock)
        yield UsagePipeline(
            billing,
            Events(billing_database),
            usage,
            pseudonyms,
            usage_client,
            letters_rpc.DeadLettersServiceStub(letters_channel),
            usage_url,
            billing_url,
            kafka,
            prefix,
            producer,
            FileStore(archive_url),
        )


async def _make_topics(kafka: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        sizes = {
            topics.USAGE_EVENTS: 3,
            topics.USAGE_AGGREGATED: 1,
            topics.USAGE_FORWARDED: 1,
            topics.AUDIT_EVENTS: 1,
        }
        await admin.create_topics([NewTopic(prefix + name, size, 1) for name, size in sizes.items()])
    finally:
        await admin.close()


@asynccontextmanager
async def _fresh(
    admin_url: str, templates: Callable[[Schema], Template], schema: Schema
) -> AsyncIterator[str]:
    """A database of the schema, cloned from its template."""
    template = await asyncio.to_thread(templates, schema)
    name = f"test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template.database}")
        yield with_database(admin_url, name, template.database, template.password)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
