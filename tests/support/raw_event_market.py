"""Two merchants with some services and two consumers on both services: what happens, step by step, and the
raw events of it. Of Kafka there is only what its readers see of it: records with offsets."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams.usage.v1.events_pb2 import ANSWERED, Outcome, UsageEvent, UsageEventBatch
from ams_common import offsets, topics
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.money import to_decimal, to_money
from ams_common.subscriptions import Batch, Record, TopicHandler
from ams_rating.charging import ChargeRule
from ams_rating.prices import Component, Meter, PerUnit, Price, problems_of
from billing_svc.drafting import refresh_drafts
from billing_svc.event_handlers import SUBSCRIPTIONS
from billing_svc.testing import price_changed, service_changed
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from usage_svc.event_handlers import UsageIntake
from usage_svc.partitions import Partitions

from support.mortal_process import MortalProcess
from support.plain_bills import Pricing, rounded
from support.usage_pipeline import UsagePipeline

NOW = datetime(2026, 12, 4, 1, tzinfo=UTC)
# On both sides of two months' ends.
DAYS = tuple(
    date.fromisoformat(day)
    for day in (
        "2026-10-30",
        "2026-10-31",
        "2026-11-01",
        "2026-11-15",
        "2026-11-30",
        "2026-12-01",
        "2026-12-02",
    )
)
# Of each service its merchant and its currency.
SERVICES = ((0, "EUR"), (0, "JPY"), (0, "EUR"), (1, "KWD"))
PARTITIONS = 2


@dataclass
class Partition:
    """One of a topic, as who reads it sees it: effects and offset are moved in one transaction."""

    topic: str
    number: int
    incarnation: str
    records: list[Record] = field(default_factory=list)

    def append(self, message: Message | bytes) -> None:
        value = message if isinstance(message, bytes) else message.SerializeToString()
        self.records.append(Record(len(self.records), None, value))

    async def read(self, database: Database, handler: TopicHandler[Any]) -> None:
        async with database.connection() as connection:
            place = self.topic, self.number, self.incarnation
            next_offset = await offsets.start(connection, *place, len(self.records))
        if not (records := self.records[next_offset:]):
            return
        batch = Batch(f"{self.incarnation}/{self.number}", records)
        prepared, rejections = handler.prepare(batch)
        assert not rejections
        await handler.make_ready(prepared)
        async with database.change_by_system("consume", audited=False) as change:
            assert await offsets.lock(change.connection, *place) == next_offset
            await handler.apply(change, prepared)
            await offsets.store(change.connection, self.topic, self.number, len(self.records))


class Call(NamedTuple):
    """Which consumer's, with which key (the second is a project's), of which service; and what an event says
    of it."""

    who: int
    key: int
    service: int
    day: date
    moment_ns: int
    end: tuple[Outcome.ValueType, int] = (ANSWERED, 200)
    sent: int = 0
    received: int = 0
    is_continuation: bool = False
    is_test: bool = False


Owed = defaultdict[tuple[str, str, str], Decimal]


class Market:
    """Two merchants with four services and two consumers: what happens, and what should come of it."""

    def __init__(self, pipeline: UsagePipeline, process: MortalProcess) -> None:
        self.pipeline, self.process = pipeline, process
        self.billing = pipeline.billing
        self.billing.clock.now = NOW
        self.intake = UsageIntake(Partitions(pipeline.usage), now=self.billing.clock)
        self.merchants, self.consumers = (uuid7(), uuid7()), (uuid7(), uuid7())
        self.keys, self.project_id = (uuid7(), uuid7()), uuid7()
        self.services: list[UUID] = []
        self.pricings: dict[str, Pricing] = {}
        self.merchant_of: dict[str, str] = {}
        for merchant, currency in SERVICES:
            self._add_service(merchant, currency)
        self.events: list[UsageEvent] = []
        # What credit notes took back for good: not those of an invoice that is void, which is billed anew.
        self.credited: Owed = defaultdict(Decimal)
        prefix = f"{uuid7()}."
        self.of_events = [Partition(f"{prefix}usage.events", n, str(uuid4())) for n in range(PARTITIONS)]
        self.of_totals = Partition(f"{prefix}usage.aggregated", 0, str(uuid4()))
        self.of_catalog = Partition(f"{prefix}catalog.events", 0, str(uuid4()))

    def _add_service(self, merchant: int, currency: str) -> None:
        self.services.append(uuid7())
        self.pricings[str(self.services[-1])] = Pricing(currency)
        self.merchant_of[str(self.services[-1])] = str(self.merchants[merchant])

    async def open(self) -> None:
        """What an example that was broken off has left is nobody's."""
        async with self.pipeline.usage.connection() as connection:
            await connection.execute("DELETE FROM outbox")

    async def call(self, calls: list[Call], times: int, partition: int) -> None:
        """Each so many times; Kafka has them."""
        made = [self._event(each) for each in calls * times]
        self.events += made
        self._send(made, partition)

    async def send_again(self, numbers: list[int], partition: int) -> None:
        if self.events:
            self._send([self.events[number % len(self.events)] for number in numbers], partition)

    def _event(self, call: Call) -> UsageEvent:
        second, nanos = divmod(call.moment_ns, 10**9)
        service_id = str(self.services[call.service])
        return UsageEvent(
            event_id=uuid7().bytes,
            timestamp=Timestamp(seconds=int(_midnight(call.day).timestamp()) + second, nanos=nanos),
            consumer_id=str(self.consumers[call.who]),
            api_key_id=str(self.keys[call.key]),
            project_id=str(self.project_id) if call.key else "",
            service_id=service_id,
            merchant_id=self.merchant_of[service_id],
            price_version_id=str(uuid7()),
            key_prefix="ams_live_abcdefgh",
            outcome=call.end[0],
            status_code=call.end[1],
            request_payload_size_bytes=call.sent,
            response_payload_size_bytes=call.received,
            is_continuation=call.is_continuation,
            is_test=call.is_test,
        )

    def _send(self, events: list[UsageEvent], partition: int) -> None:
        self.of_events[partition].append(UsageEventBatch(events=events))

    async def count(self, partition: int, lives: int | None) -> None:
        """usage-svc reads what has come."""
        await self.process.survive(
            lives, lambda: self.of_events[partition].read(self.pipeline.usage, self.intake)
        )

    async def tell(self, rows: int, is_backwards: bool, dies: bool) -> None:
        """Some of usage-svc's outbox goes out, and out of it: unless usage-svc dies in between."""
        async with self.pipeline.usage.connection() as connection:
            found = await connection.fetch(
                "SELECT outbox_id, payload FROM outbox WHERE topic = $1 ORDER BY outbox_id LIMIT $2",
                topics.USAGE_AGGREGATED,
                rows,
            )
            for row in reversed(found) if is_backwards else found:
                self.of_totals.append(row["payload"])
            if not dies:
                await connection.execute(
                    "DELETE FROM outbox WHERE outbox_id = ANY($1)", [row["outbox_id"] for row in found]
                )

    async def bill(self, lives: int | None) -> None:
        """billing-svc reads what it is told of usage."""
        await self.process.survive(
            lives, lambda: self.of_totals.read(self.billing.database, _handler(topics.USAGE_AGGREGATED))
        )

    async def offer(self, service: int, day: date, moment_ns: int, price: tuple[Any, ChargeRule]) -> None:
        """A price from a day on, and with the first one the service; the news is under way."""
        service_id, (merchant, currency) = self.services[service], SERVICES[service]
        pricing = self.pricings[str(service_id)]
        if not pricing.starts:
            # It begins when the service is approved, at any moment of the day; later ones at midnight.
            self._offer_service(service_id, merchant, Price(currency, *price), day, moment_ns // 10**9)
        elif day > min(pricing.starts) and day not in pricing.starts:  # else it would be refused
            self._offer_price(service_id, Price(currency, *price), day)

    def _offer_service(
        self, service_id: UUID, merchant: int, price: Price, day: date, second: int = 0
    ) -> None:
        self._offer_price(service_id, price, day, second)
        merchant_id, at = self.merchants[merchant], _midnight(day)
        # Behind its price: either may come first.
        self.of_catalog.append(service_changed(service_id, merchant_id, f"Service {service_id}", at))

    def _offer_price(self, service_id: UUID, price: Price, day: date, second: int = 0) -> None:
        assert problems_of(price) == []
        self.pricings[str(service_id)].starts[day] = price
        starts_at = _midnight(day) + timedelta(seconds=second)
        self.of_catalog.append(price_changed(uuid7(), service_id, price, starts_at))

    async def hear_of_prices(self, lives: int | None) -> None:
        await self.process.survive(
            lives, lambda: self.of_catalog.read(self.billing.database, _handler(topics.CATALOG_EVENTS))
        )

    async def draft(self, lives: int | None) -> None:
        await self.process.survive(lives, lambda: refresh_drafts(self.billing.database, NOW))

    async def issue(self, day: date, merchant: int, who: int | None, lives: int | None) -> None:
        request = pb.IssueInvoicesRequest(
            last_day=day.isoformat(),
            merchant_id=str(self.merchants[merchant]),
            consumers=[] if who is None else [str(self.consumers[who])],
            idempotency_key=str(uuid7()),
        )
        admin_id = uuid7()

        async def run() -> None:
            await self.billing.ask("IssueInvoices", request, admin_id, ADMIN)
            await self.billing.work_off()

        await self.process.survive(lives, run)

    async def void(self, merchant: int, number: int, lives: int | None) -> None:
        if (invoice := await self._pick(merchant, number)) is None:
            return

        async def void() -> None:
            with contextlib.suppress(FailedPreconditionError):  # nothing is due of it
                await self.billing.void(invoice.invoice_id)

        await self.process.survive(lives, void)
        if (await self.billing.get(invoice.invoice_id)).status == pb.INVOICE_VOID:
            self.credited[_owed_of(invoice)] -= to_decimal(invoice.credited)

    async def credit(self, merchant: int, number: int, percent: int, lives: int | None) -> None:
        if (invoice := await self._pick(merchant, number)) is None:
            return
        currency = invoice.subtotal.currency_code
        subtotal, credited = to_decimal(invoice.subtotal), to_decimal(invoice.credited)
        amount = rounded(subtotal * percent / 100, currency)
        if not 0 < amount <= subtotal - credited:
            return
        request = pb.CreateCreditNoteRequest(
            invoice_id=invoice.invoice_id,
            amount=to_money(amount, currency),
            reason="Late",
            idempotency_key=str(uuid7()),
        )
        admin_id = uuid7()
        await self.process.survive(
            lives, lambda: self.billing.ask("CreateCreditNote", request, admin_id, ADMIN)
        )
        self.credited[_owed_of(invoice)] += amount

    async def _pick(self, merchant: int, number: int) -> pb.Invoice | None:
        listed = await self.billing.invoices(merchant_id=str(self.merchants[merchant]), kind=pb.INVOICE)
        found = [each for each in listed if each.status == pb.INVOICE_ISSUED]
        return found[number % len(found)] if found else None

    async def settle(self) -> None:
        """Everything has a price, has arrived and is billed; and there is enough to pay that whatever is owed
        to a consumer fits on an invoice."""
        for service in range(len(SERVICES)):
            if not self.pricings[str(self.services[service])].starts:
                await self.offer(service, DAYS[0], 0, ((), ChargeRule()))
        dear = (Component(Meter.REQUESTS, PerUnit(Decimal(100_000))),)
        for merchant, currency in sorted(set(SERVICES)):
            self._add_service(merchant, currency)
            self._offer_service(self.services[-1], merchant, Price(currency, dear), DAYS[0])
            for who in range(len(self.consumers)):
                await self.call([Call(who, 0, len(self.services) - 1, DAYS[-1], 0)], 1, who)
        await self.hear_of_prices(None)
        for partition in range(PARTITIONS):
            await self.count(partition, None)
        await self.tell(10**6, False, False)
        await self.bill(None)
        for merchant in range(len(self.merchants)):
            await self.issue(DAYS[-1], merchant, None, None)
        await self.draft(None)

    async def invoiced(self) -> Owed:
        """All invoices less all credit notes, but for what these took back for good."""
        rows = await self.billing.rows(
            "SELECT merchant_id, consumer_id, currency, kind, status, subtotal FROM invoices"
            " WHERE merchant_id = ANY($1)",
            list(self.merchants),
        )
        owed: Owed = defaultdict(Decimal, self.credited)
        for row in rows:
            assert row["status"] != "draft"
            sign = 1 if row["kind"] == "invoice" else -1
            owed[str(row["merchant_id"]), str(row["consumer_id"]), row["currency"]] += sign * row["subtotal"]
        return owed


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _handler(topic: str) -> TopicHandler[Any]:
    return next(each for each in SUBSCRIPTIONS if each.topic == topic)


def _owed_of(invoice: pb.Invoice) -> tuple[str, str, str]:
    return invoice.merchant_id, invoice.consumer_id, invoice.subtotal.currency_code
