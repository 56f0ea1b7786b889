"""What other services tell people reaches them, each once."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from ams.identity.v1.notifications_pb2 import (
    InvoiceIssued,
    Notification,
    PriceChangeAhead,
    ReportReady,
    ReportShared,
    ThresholdReached,
)
from ams_common import topics
from ams_common.consumer import EventConsumer, Subscription
from ams_common.testing.eventually import eventually
from google.type.money_pb2 import Money
from identity_svc.event_handlers import NotificationHandler
from identity_svc.mailer import Mailer, SmtpServer
from identity_svc.mails import Composer
from identity_svc.retention import purge
from identity_svc.rpc import IdentityService

EMAIL = "cora@example.com"
PRICE_CHANGE = PriceChangeAhead(
    service_name="Weather <b>& more</b>",
    service_slug="weather",
    starts_on="2026-12-15",
    price_before="EUR 0.002 per request\nCharged: answers with 4xx.",
    price_then="EUR 0.003 per request\nNot charged: answers with 4xx.",
)
INVOICE = InvoiceIssued(
    invoice_id="01a2265f-4bf6-7000-81bc-9df971400001",
    number="2026-0042",
    merchant_name="Geo <Ltd>",
    first_day="2026-11-01",
    last_day="2026-11-30",
    total=Money(currency_code="EUR", units=1234, nanos=500_000_000),
    due_on="2026-12-31",
)
SHARED = ReportShared(report_id="r1", merchant_name="Geo Ltd", first_day="2026-11-01", last_day="2026-11-30")
READY = ReportReady(report_id="r2", first_day="2026-11-01", last_day="2026-11-30")
THRESHOLD = ThresholdReached(
    alert_id="a1", rule_name="Cost <watch>", threshold="EUR 99.90", value="EUR 101.20", period="2026-11"
)

Hear = Callable[..., Awaitable[None]]
Sent = Callable[[], Awaitable[list[EmailMessage]]]


@pytest.fixture
async def user_id(identity: Any) -> str:
    """Somebody who has an account, and whose mail has been read."""
    session = await identity.register_consumer(EMAIL)
    async with identity.servicer.database.connection() as connection:
        await connection.execute("DELETE FROM mails")
    return str(session.user.user_id)


@pytest.fixture
def hear(servicer: IdentityService, clock: Any) -> Hear:
    """`await hear(*notifications)`: they are handled, without Kafka."""
    handler = NotificationHandler(servicer.mail_queue, clock)

    async def handle(*notifications: Notification) -> None:
        async with servicer.database.change_by_system("consume", audited=False) as change:
            await handler(change, notifications)

    return handle


@pytest.fixture
def sent(servicer: IdentityService, database_url: str, clock: Any, smtp: Any) -> Sent:
    """All mails that the catcher has got, once all that were queued are sent."""
    server = SmtpServer("127.0.0.1", smtp.port, "", "", "opportunistic")
    composer = Composer("AMS <no-reply@ams.example>")
    mailer = Mailer(database_url, servicer.database, servicer.vault, composer, server, clock)

    async def send() -> list[EmailMessage]:
        while await mailer.send_batch():
            pass
        assert all(recipients == [EMAIL] for _, recipients, _ in smtp.taken)
        return [message for _, _, message in smtp.taken]

    return send


def notification(user_id: str, **message: Any) -> Notification:
    return Notification(notification_id=str(uuid4()), user_id=user_id, **message)


def body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize(
    ("message", "subject", "lines", "link"),
    [
        (
            {"price_change_ahead": PRICE_CHANGE},
            "The price of Weather <b>& more</b> changes on 2026-12-15",
            ["EUR 0.003 per request", "EUR 0.002 per request", "Not charged: answers with 4xx."],
            "/marketplace/weather",
        ),
        (
            {"invoice_issued": INVOICE},
            "Invoice 2026-0042 of Geo <Ltd>",
            ["Total:  EUR 1,234.50", "Due on: 2026-12-31", "Period: 2026-11-01 to 2026-11-30 (UTC)"],
            "/dashboard/invoices/01a2265f-4bf6-7000-81bc-9df971400001",
        ),
        (
            {"report_shared": SHARED},
            "Geo Ltd has shared a usage report with you",
            ["Geo Ltd has shared a report of your usage with you: 2026-11-01 to 2026-11-30 (UTC)."],
            "/dashboard/reports/r1",
        ),
        (
            {"report_ready": READY},
            "Your usage report is ready",
            ["Your usage report is ready: 2026-11-01 to 2026-11-30 (UTC)."],
            "/reports/r2",
        ),
        (
            {"threshold_reached": THRESHOLD},
            "Alert “Cost <watch>”: EUR 99.90 reached",
            ["Threshold: EUR 99.90", "So far:    EUR 101.20", "Period:    2026-11 (UTC)"],
            "/alerts/a1",
        ),
    ],
)
async def test_each_kind_is_a_mail_with_what_was_told_as_text_and_escaped_html(
    hear: Hear, sent: Sent, user_id: str, message: Any, subject: str, lines: list[str], link: str
) -> None:
    await hear(notification(user_id, **message))
    [mail] = await sent()
    assert mail["Subject"] == subject
    text, html = body(mail, "plain"), body(mail, "html")
    assert f"https://ams.example{link}" in text.splitlines()
    assert f'href="https://ams.example{link}"' in html
    for line in lines:
        assert line in text.splitlines()
        # In HTML a table has its cells, and no line of its own.
        assert line.split(":")[-1].strip() in html
    known = "a|body|br|div|h1|head|html|meta|p|style|table|td|th|title|tr|!doctype"
    own = re.sub(r"<!--.*?-->", "", html)
    assert not re.sub(rf"</?({known})(>|\s[^>]*>)", "", own).count("<")


async def test_a_canceled_price_and_a_credit_note_say_that_they_are_one(
    hear: Hear, sent: Sent, user_id: str
) -> None:
    canceled, note = PriceChangeAhead(), InvoiceIssued()
    canceled.CopyFrom(PRICE_CHANGE)
    canceled.is_canceled = True
    note.CopyFrom(INVOICE)
    note.is_credit_note = True
    await hear(notification(user_id, price_change_ahead=canceled), notification(user_id, invoice_issued=note))
    subjects = [mail["Subject"] for mail in await sent()]
    assert sorted(subjects) == [
        "Credit note 2026-0042 of Geo <Ltd>",
        "The price of Weather <b>& more</b> stays as it is",
    ]


async def test_a_notification_is_told_once_however_often_it_is_read(
    hear: Hear, sent: Sent, user_id: str, servicer: IdentityService, clock: Any
) -> None:
    one = notification(user_id, report_ready=READY)
    await hear(one, one)
    await hear(one)
    assert len(await sent()) == 1
    # Sent mails are forgotten within days, what was told is not.
    clock.advance(timedelta(days=61))
    await purge(servicer.database, clock)
    await hear(one, notification(user_id, report_ready=READY))
    assert len(await sent()) == 2


async def test_an_id_is_any_text_and_none_is_refused(
    hear: Hear, sent: Sent, user_id: str, servicer: IdentityService
) -> None:
    """Services make them of what they tell of: those of invoices, reports and alerts are no UUIDs."""
    for text in (f"invoice-issued/{INVOICE.invoice_id}", f"invoice-sent/{INVOICE.invoice_id}"):
        told = Notification(notification_id=text, user_id=user_id, invoice_issued=INVOICE)
        await hear(told)
        await hear(told)
    assert len(await sent()) == 2
    async with servicer.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM user_notifications") == 2
    with pytest.raises(ValueError, match="without an id"):
        await hear(Notification(user_id=user_id, invoice_issued=INVOICE))


async def test_a_name_of_several_lines_stays_in_its_header(hear: Hear, sent: Sent, user_id: str) -> None:
    evil = ReportShared(report_id="../x?y", merchant_name="Geo\r\nBcc: mallory@example.com")
    await hear(notification(user_id, report_shared=evil))
    [mail] = await sent()
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Geo Bcc: mallory@example.com has shared a usage report with you"
    assert "https://ams.example/dashboard/reports/..%2Fx%3Fy" in body(mail, "plain")


async def test_what_a_later_release_tells_or_nobody_can_be_told_waits_and_the_others_are_sent(
    servicer: IdentityService,
    clock: Any,
    sent: Sent,
    user_id: str,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    unknown_kind = notification(user_id).SerializeToString() + b"\xfa\x07\x00"
    notifications = [
        unknown_kind,
        notification(str(uuid4()), report_ready=READY).SerializeToString(),
        notification("nobody", report_ready=READY).SerializeToString(),
        notification(user_id, report_ready=READY).SerializeToString(),
    ]
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    for payload in notifications:
        await producer.send_and_wait(topic_prefix + topics.NOTIFICATIONS, payload, key=b"one")
    await producer.stop()
    handler = NotificationHandler(servicer.mail_queue, clock)
    subscription = Subscription(topics.NOTIFICATIONS, Notification, handler)
    consumer = EventConsumer(servicer.database, kafka_bootstrap, "identity-svc", [subscription], topic_prefix)
    task = asyncio.create_task(consumer.run())
    try:
        [mail] = await eventually(sent)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert mail["Subject"] == "Your usage report is ready"
    async with servicer.database.connection() as connection:
        rows = await connection.fetch("SELECT payload FROM dead_letters ORDER BY message_offset")
    assert [row["payload"] for row in rows] == notifications[:3]
