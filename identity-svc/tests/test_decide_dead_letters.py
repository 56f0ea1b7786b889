"""Admins see what identity-svc could not apply, have it applied once that can be, and give it up."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from ams.audit.v1.events_pb2 import AuditRecord
from ams.dead_letters.v1.dead_letters_service_pb2 import DESCRIPTOR
from ams.identity.v1.notifications_pb2 import Notification, ReportReady
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.consumer import Subscription
from ams_common.ids import uuid7
from ams_common.subscriptions import TopicHandler
from ams_common.testing.dead_letters import Letters, reading
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from identity_svc.event_handlers import NotificationHandler, store_audit_records
from identity_svc.rpc import IdentityService


@pytest.fixture
async def letters(
    servicer: IdentityService,
    clock: Any,
    kafka_bootstrap: str,
    topic_prefix: str,
    issuer: TestIssuer,
    serve_rpc: Serve,
) -> AsyncIterator[Letters]:
    handlers: list[TopicHandler[Any]] = [
        Subscription(topics.AUDIT_EVENTS, AuditRecord, store_audit_records),
        Subscription(topics.NOTIFICATIONS, Notification, NotificationHandler(servicer.mail_queue, clock)),
    ]
    async with reading(
        "identity", handlers, servicer.database, kafka_bootstrap, topic_prefix, issuer, serve_rpc
    ) as opened:
        yield opened


async def test_a_notification_reaches_its_user_once_there_is_one(letters: Letters, identity: Any) -> None:
    user_id = uuid7()
    ready = ReportReady(report_id="r1", first_day="2026-11-01", last_day="2026-11-30")
    letter = await letters.kept(
        topics.NOTIFICATIONS,
        Notification(notification_id=str(uuid7()), user_id=str(user_id), report_ready=ready),
    )
    assert f"there is no user {user_id}" in letter.error
    assert "report_ready" in letter.content
    # Restored after the message was read.
    async with identity.servicer.database.connection() as connection:
        await connection.execute(
            "INSERT INTO users (user_id, email, name, created_at)"
            " VALUES ($1, 'cora@example.com', 'Cora', now())",
            user_id,
        )
    await letters.check_replay(letter)
    assert await told(identity, user_id) == ["report_ready"]


async def told(identity: Any, user_id: UUID) -> list[str]:
    """The kinds of what stands in the user's account."""
    rows = await identity.fetch("SELECT kind FROM user_notifications WHERE user_id = $1", user_id)
    return [row["kind"] for row in rows]


async def test_an_audit_record_comes_into_the_log_once_its_store_takes_it(
    letters: Letters, identity: Any, audit_superuser: Any
) -> None:
    record = AuditRecord(
        audit_id=str(uuid7()), occurred_at=to_timestamp(utc_now()), actor="system", action="key.create"
    )

    async def logged() -> list[str]:
        rows = await audit_superuser.fetch("SELECT audit_id::text FROM records")
        return [row["audit_id"] for row in rows]

    await audit_superuser.execute("ALTER TABLE records ADD CONSTRAINT wrong CHECK (action <> 'key.create')")
    letter = await letters.kept(topics.AUDIT_EVENTS, record)
    assert "wrong" in letter.error
    await audit_superuser.execute("ALTER TABLE records DROP CONSTRAINT wrong")
    await letters.check_replay(letter)
    assert await logged() == [record.audit_id]


async def test_only_admins_decide_and_each_letter_is_decided_once(letters: Letters) -> None:
    await letters.check_decisions(topics.NOTIFICATIONS)


async def test_each_rpc_lets_in_admins_and_nobody_else(letters: Letters, issuer: TestIssuer) -> None:
    service = DESCRIPTOR.services_by_name["DeadLettersService"]
    assert await callers_let_in(letters.channel, service, issuer) == {
        "ListDeadLetters": {"admin"},
        "ReplayDeadLetter": {"admin"},
        "DismissDeadLetter": {"admin"},
    }
