"""Admins see what usage-svc could not apply, have it applied once that can be, and give it up."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from ams.dead_letters.v1.dead_letters_service_pb2 import DESCRIPTOR
from ams.usage.v1.events_pb2 import ForwardedTotal, UsageEventBatch
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.server import cancel
from ams_common.subscriptions import Subscription, TopicHandler
from ams_common.testing.dead_letters import Letters, reading
from ams_common.testing.eventually import eventually
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from usage_svc.event_handlers import UsageIntake, keep_forwarded_totals
from usage_svc.identity_events import IDENTITY
from usage_svc.partitions import Partitions
from usage_svc.store import Store


class MovingClock:
    """The present moment, and as much later as the test wants."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
async def letters(
    database: Database[Store],
    clock: MovingClock,
    kafka_bootstrap: str,
    topic_prefix: str,
    issuer: TestIssuer,
    serve_rpc: Serve,
) -> AsyncIterator[Letters]:
    handlers: list[TopicHandler[Any]] = [
        UsageIntake(Partitions(database), clock),
        Subscription(topics.USAGE_FORWARDED, ForwardedTotal, keep_forwarded_totals),
        IDENTITY,
    ]
    async with reading(
        "usage", handlers, database, kafka_bootstrap, topic_prefix, issuer, serve_rpc
    ) as opened:
        yield opened


async def test_those_that_wait_are_listed_newest_first_with_what_they_say(
    letters: Letters, subject: Any
) -> None:
    for status_code in (200, 201):
        event = subject.event(request_bytes=-1, status_code=status_code)
        await letters.kept(topics.USAGE_EVENTS, UsageEventBatch(events=[event]))
    first = await letters.listed(page_size=1)
    [newest] = first.dead_letters
    assert (newest.partition, newest.offset) == (0, 1)
    assert "request_payload_size_bytes" in newest.error
    assert "status_code: 201" in newest.content
    assert first.waiting == 2
    rest = await letters.listed(page_token=first.next_page_token)
    assert [each.offset for each in rest.dead_letters] == [0]
    assert rest.next_page_token == ""


async def test_of_a_long_message_the_beginning_is_shown(letters: Letters, subject: Any) -> None:
    events = [subject.event(request_bytes=-1) for _ in range(100)]
    letter = await letters.kept(topics.USAGE_EVENTS, UsageEventBatch(events=events))
    assert letter.content.startswith("events {")
    assert len(letter.content) == 4000


async def test_an_event_of_a_clock_ahead_is_sent_again_and_counted_once_its_time_has_come(
    letters: Letters,
    clock: MovingClock,
    subject: Any,
    figures: Any,
    database: Database[Store],
    database_url: str,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    event = subject.event(utc_now() + timedelta(days=3))
    letter = await letters.kept(topics.USAGE_EVENTS, UsageEventBatch(events=[event]))
    assert "timestamp" in letter.error
    with pytest.raises(FailedPreconditionError, match="timestamp"):
        await letters.replay(letter)
    assert (await letters.listed()).waiting == 1

    clock.ahead = timedelta(days=3)
    await letters.check_replay(letter)
    # At its old offset it would be behind what an invoice may have billed by now: it isn't counted there.
    assert (await figures.raw())["requests"] == 0
    async with database.connection() as connection:
        [sent] = await connection.fetch(
            "SELECT message_key, payload FROM outbox WHERE topic = $1", topics.USAGE_EVENTS
        )
    assert sent["message_key"].decode() == event.consumer_id
    assert list(UsageEventBatch.FromString(sent["payload"]).events) == [event]

    async def is_counted() -> bool:
        return bool((await figures.raw())["requests"] == 1)

    relay = OutboxRelay(database_url, KafkaDestination(kafka_bootstrap, topic_prefix))
    work = asyncio.create_task(relay.run())
    try:
        await eventually(is_counted)
    finally:
        await cancel([work])
    assert (await letters.listed()).waiting == 0


async def test_only_admins_decide_and_each_letter_is_decided_once(letters: Letters) -> None:
    await letters.check_decisions(topics.USAGE_EVENTS)


async def test_each_rpc_lets_in_admins_and_nobody_else(letters: Letters, issuer: TestIssuer) -> None:
    service = DESCRIPTOR.services_by_name["DeadLettersService"]
    assert await callers_let_in(letters.channel, service, issuer) == {
        "ListDeadLetters": {"admin"},
        "ReplayDeadLetter": {"admin"},
        "DismissDeadLetter": {"admin"},
    }
