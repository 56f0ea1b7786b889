"""Admins see what could not be applied, try it again and give it up."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest
from ams.audit.v1.events_pb2 import AuditRecord
from ams.dead_letters.v1 import dead_letters_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import UsageEvent, UsageEventBatch
from ams_common import topics
from ams_common.database import Database
from ams_common.dead_letters import DeadLetters
from ams_common.subscriptions import Record, Rejection
from ams_common.testing.tokens import TestIssuer
from usage_svc.event_handlers import topic_handlers
from usage_svc.rpc.dead_letters import DeadLetterRpcs
from usage_svc.store import Store

INCARNATION = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def letters(database: Database[Store]) -> DeadLetters:
    return DeadLetters(database, topic_handlers(database))


@pytest.fixture
async def stub(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]], letters: DeadLetters
) -> AsyncIterator[rpc.UsageServiceStub]:
    servicer = DeadLetterRpcs(dead_letters=letters)  # type: ignore[abstract]

    def add(server: grpc.aio.Server) -> None:
        rpc.add_UsageServiceServicer_to_server(servicer, server)

    descriptor = usage_pb.DESCRIPTOR.services_by_name["UsageService"]
    yield rpc.UsageServiceStub(await serve_rpc(descriptor, add))


@pytest.fixture
def keep(database: Database[Store], letters: DeadLetters) -> Callable[..., Awaitable[None]]:
    """Keeps one event that could not be counted, as the consumer does."""

    async def keep_one(event: UsageEvent, offset: int = 0, error: str = "no reason") -> None:
        record = Record(offset, b"key", UsageEventBatch(events=[event]).SerializeToString())
        async with database.change_by_system("test", audited=False) as change:
            await letters.keep(change, topics.USAGE_EVENTS, 2, INCARNATION, [Rejection(record, error)])

    return keep_one


def admin(issuer: TestIssuer) -> Any:
    return (("authorization", f"Bearer {issuer.user_token(uuid4(), ADMIN)}"),)


async def audited(database: Database) -> list[str]:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT payload FROM outbox WHERE topic = $1", topics.AUDIT_EVENTS)
    return [AuditRecord.FromString(row[0]).action for row in rows]


async def test_those_that_wait_are_listed_newest_first_with_what_they_say(
    stub: Any, issuer: TestIssuer, keep: Any, subject: Any
) -> None:
    await keep(subject.event(), offset=5)
    await keep(subject.event(request_bytes=-1), offset=6, error="request_payload_size_bytes is bad")
    first = await stub.ListUsageDeadLetters(pb.ListDeadLettersRequest(page_size=1), metadata=admin(issuer))
    (letter,) = first.dead_letters
    assert (letter.topic, letter.partition, letter.offset) == (topics.USAGE_EVENTS, 2, 6)
    assert (letter.error, letter.status) == ("request_payload_size_bytes is bad", pb.WAITING)
    assert "request_payload_size_bytes: -1" in letter.content
    assert first.waiting == 2
    rest = await stub.ListUsageDeadLetters(
        pb.ListDeadLettersRequest(page_token=first.next_page_token), metadata=admin(issuer)
    )
    assert [each.offset for each in rest.dead_letters] == [5]


async def test_one_that_can_be_applied_by_now_is_sent_again_and_counted_where_it_comes(
    stub: Any, issuer: TestIssuer, keep: Any, subject: Any, database: Database, figures: Any
) -> None:
    event = subject.event()
    await keep(event, offset=5)
    (letter,) = (
        await stub.ListUsageDeadLetters(pb.ListDeadLettersRequest(), metadata=admin(issuer))
    ).dead_letters
    request = pb.DeadLetterId(dead_letter_id=letter.dead_letter_id)
    answer = await stub.ReplayUsageDeadLetter(request, metadata=admin(issuer))
    assert (answer.status, answer.HasField("decided_at")) == (pb.REPLAYED, True)
    # At its old offset it would be behind what an invoice may have billed by now.
    assert await figures.totals() == []
    async with database.connection() as connection:
        (sent,) = await connection.fetch(
            "SELECT message_key, payload FROM outbox WHERE topic = $1", topics.USAGE_EVENTS
        )
    assert sent["message_key"].decode() == event.consumer_id
    assert list(UsageEventBatch.FromString(sent["payload"]).events) == [event]
    assert await audited(database) == ["dead_letter.replay"]
    with pytest.raises(grpc.aio.AioRpcError) as again:
        await stub.ReplayUsageDeadLetter(request, metadata=admin(issuer))
    assert again.value.code() == grpc.StatusCode.NOT_FOUND


async def test_one_that_still_cannot_be_applied_waits_on(
    stub: Any, issuer: TestIssuer, keep: Any, subject: Any, figures: Any, database: Database
) -> None:
    await keep(subject.event(request_bytes=-1))
    (letter,) = (
        await stub.ListUsageDeadLetters(pb.ListDeadLettersRequest(), metadata=admin(issuer))
    ).dead_letters
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.ReplayUsageDeadLetter(
            pb.DeadLetterId(dead_letter_id=letter.dead_letter_id), metadata=admin(issuer)
        )
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "request_payload_size_bytes" in (error.value.details() or "")
    answer = await stub.ListUsageDeadLetters(pb.ListDeadLettersRequest(), metadata=admin(issuer))
    assert answer.waiting == 1
    assert await audited(database) == []
    assert await figures.totals() == []


async def test_one_that_is_given_up_keeps_the_reason(
    stub: Any, issuer: TestIssuer, keep: Any, subject: Any, database: Database
) -> None:
    await keep(subject.event())
    (letter,) = (
        await stub.ListUsageDeadLetters(pb.ListDeadLettersRequest(), metadata=admin(issuer))
    ).dead_letters
    request = pb.DismissDeadLetterRequest(dead_letter_id=letter.dead_letter_id, reason="a test")
    await stub.DismissUsageDeadLetter(request, metadata=admin(issuer))
    gone = await stub.ListUsageDeadLetters(
        pb.ListDeadLettersRequest(status=pb.DISMISSED), metadata=admin(issuer)
    )
    assert [(each.reason, each.status) for each in gone.dead_letters] == [("a test", pb.DISMISSED)]
    assert gone.waiting == 0
    assert await audited(database) == ["dead_letter.dismiss"]


async def test_nobody_but_admins_sees_or_decides(stub: Any, issuer: TestIssuer) -> None:
    metadata = (("authorization", f"Bearer {issuer.user_token(uuid4(), MERCHANT)}"),)
    some = str(uuid4())
    for call in (
        stub.ListUsageDeadLetters(pb.ListDeadLettersRequest(), metadata=metadata),
        stub.ReplayUsageDeadLetter(pb.DeadLetterId(dead_letter_id=some), metadata=metadata),
        stub.DismissUsageDeadLetter(
            pb.DismissDeadLetterRequest(dead_letter_id=some, reason="x"), metadata=metadata
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED
