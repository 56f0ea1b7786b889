"""A service's dead letters for its tests: messages over a real Kafka, and admins who decide about what
becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ams.audit.v1.events_pb2 import AuditRecord
from ams.dead_letters.v1 import dead_letters_service_pb2 as pb
from ams.dead_letters.v1.dead_letters_service_pb2_grpc import DeadLettersServiceStub
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from google.protobuf.message import Message

from ams_common import topics
from ams_common.client import invoke
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.dead_letters_service import dead_letters_service
from ams_common.errors import AppError
from ams_common.ids import uuid7
from ams_common.server import cancel
from ams_common.subscriptions import TopicHandler
from ams_common.testing.eventually import eventually
from ams_common.testing.plugin import Serve
from ams_common.testing.tokens import TestIssuer

# What no contract's message begins with.
UNREADABLE = b"\xff\xff\xff"


@dataclass(frozen=True)
class Letters:
    """What a service keeps that reads Kafka meanwhile. The methods act as an admin, or as `role`, and raise
    AppError."""

    keeper: str
    channel: grpc.aio.Channel
    issuer: TestIssuer
    database: Database
    producer: AIOKafkaProducer
    topic_prefix: str

    async def listed(self, role: Role.ValueType = ADMIN, **fields: Any) -> pb.ListDeadLettersResponse:
        request = pb.ListDeadLettersRequest(**{"keeper": self.keeper, **fields})
        answer: pb.ListDeadLettersResponse = await self._ask("ListDeadLetters", request, role)
        return answer

    async def replay(
        self, letter: pb.DeadLetter, role: Role.ValueType = ADMIN, **fields: Any
    ) -> pb.DeadLetter:
        wanted = {"keeper": self.keeper, "dead_letter_id": letter.dead_letter_id, **fields}
        answer: pb.DeadLetter = await self._ask(
            "ReplayDeadLetter", pb.ReplayDeadLetterRequest(**wanted), role
        )
        return answer

    async def dismiss(
        self, letter: pb.DeadLetter, role: Role.ValueType = ADMIN, **fields: Any
    ) -> pb.DeadLetter:
        wanted = {
            "keeper": self.keeper,
            "dead_letter_id": letter.dead_letter_id,
            "reason": "a test",
            **fields,
        }
        answer: pb.DeadLetter = await self._ask(
            "DismissDeadLetter", pb.DismissDeadLetterRequest(**wanted), role
        )
        return answer

    async def _ask(self, method: str, request: Message, role: Role.ValueType) -> Any:
        call = getattr(DeadLettersServiceStub(self.channel), method)
        return await invoke(call, request, token=self.issuer.user_token(uuid7(), role))

    async def send(self, topic: str, message: Message | bytes) -> None:
        """Returns when Kafka has it."""
        value = message if isinstance(message, bytes) else message.SerializeToString()
        await self.producer.send_and_wait(self.topic_prefix + topic, value, key=b"one")

    async def kept(self, topic: str, message: Message | bytes) -> pb.DeadLetter:
        """Sends what can't be applied, and returns what is kept of it."""
        waiting = (await self.listed()).waiting
        await self.send(topic, message)

        async def newest() -> Sequence[pb.DeadLetter]:
            listed = await self.listed(page_size=1)
            return listed.dead_letters if listed.waiting > waiting else ()

        [letter] = await eventually(newest)
        assert (letter.topic, letter.status) == (self.topic_prefix + topic, pb.WAITING)
        return letter

    async def decisions(self, letter: pb.DeadLetter) -> list[tuple[str, dict[str, str]]]:
        """The audit records about it: each action, and its details but the topic."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "SELECT payload FROM outbox WHERE topic = $1 ORDER BY outbox_id", topics.AUDIT_EVENTS
            )
        records = [AuditRecord.FromString(row["payload"]) for row in rows]
        about = [each for each in records if each.resource_id == letter.dead_letter_id]
        assert all((each.resource, each.details["topic"]) == ("dead_letter", letter.topic) for each in about)
        details = [{name: text for name, text in each.details.items() if name != "topic"} for each in about]
        return [(each.action, said) for each, said in zip(about, details, strict=True)]

    async def check_decisions(self, topic: str) -> None:
        """What holds for every keeper: only admins see and decide, each letter once, and a dismissal keeps
        its reason. Nothing else must wait."""
        letter = await self.kept(topic, UNREADABLE)
        for role in (MERCHANT, CONSUMER):
            for call in (self.listed(role), self.replay(letter, role), self.dismiss(letter, role)):
                assert await _refusal(call) == "role_required"
        for call in (
            self.listed(keeper="elsewhere"),
            self.replay(letter, keeper="elsewhere"),
            self.dismiss(letter, keeper="elsewhere"),
        ):
            assert await _refusal(call) == "keeper_not_found"
        for call in (
            self.listed(keeper=""),
            self.listed(status=77),
            self.replay(letter, dead_letter_id="7"),
            self.dismiss(letter, dead_letter_id=""),
            self.dismiss(letter, reason=" "),
        ):
            assert await _refusal(call) == "invalid_argument"
        assert await _refusal(self.replay(letter)) == "still_unapplicable"
        assert await self.decisions(letter) == []
        assert [each.dead_letter_id for each in (await self.listed()).dead_letters] == [letter.dead_letter_id]

        dismissed = await self.dismiss(letter, reason="Nobody’s")
        assert (dismissed.status, dismissed.reason) == (pb.DISMISSED, "Nobody’s")
        gone = await self.listed(status=pb.DISMISSED)
        assert (list(gone.dead_letters), gone.waiting) == ([dismissed], 0)
        said = {"keeper": self.keeper, "reason": "Nobody’s"}
        assert await self.decisions(letter) == [("dead_letter.dismiss", said)]
        for call in (
            self.replay(letter),
            self.dismiss(letter),
            self.dismiss(pb.DeadLetter(dead_letter_id=str(uuid7()))),
        ):
            assert await _refusal(call) == "dead_letter_not_found"

    async def check_replay(self, letter: pb.DeadLetter) -> None:
        """That it is applied now, once, with an audit record."""
        replayed = await self.replay(letter)
        assert (replayed.status, replayed.HasField("decided_at")) == (pb.REPLAYED, True)
        assert await self.decisions(letter) == [("dead_letter.replay", {"keeper": self.keeper, "reason": ""})]
        assert await _refusal(self.replay(letter)) == "dead_letter_not_found"
        listed = await self.listed()
        assert letter.dead_letter_id not in {each.dead_letter_id for each in listed.dead_letters}


@asynccontextmanager
async def reading(
    keeper: str,
    handlers: Sequence[TopicHandler[Any]],
    database: Database,
    kafka_bootstrap: str,
    topic_prefix: str,
    issuer: TestIssuer,
    serve_rpc: Serve,
) -> AsyncIterator[Letters]:
    """The service's event consumer, and what serves its dead letters, as its process runs them."""
    await _make_topics(kafka_bootstrap, [topic_prefix + handler.topic for handler in handlers])
    consumer = EventConsumer(database, kafka_bootstrap, f"{keeper}-svc", handlers, topic_prefix)
    channel = await serve_rpc(*dead_letters_service(keeper, consumer.dead_letters))
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        work = asyncio.create_task(consumer.run())
        try:
            yield Letters(keeper, channel, issuer, database, producer, topic_prefix)
        finally:
            await cancel([work])


async def _make_topics(kafka_bootstrap: str, names: Sequence[str]) -> None:
    """Before they are read: who looks for them in vain looks again after five seconds."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    finally:
        await admin.close()


async def _refusal(call: Any) -> str:
    """The code that a call is refused with."""
    with pytest.raises(AppError) as refused:
        await call
    return refused.value.code
