"""Access tokens that end before their time: whose session ended, or whose bearer's roles have changed.

identity-svc ends them. Services hear of it in two ways: by Kafka, and by asking identity-svc within a second,
for an end must not wait while Kafka is away. Both ways end in one set in memory that every verifier of tokens
consults; what a restart loses of it is read again, for it has to be known no longer than a token lasts.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import grpc
from aiokafka import AIOKafkaConsumer, TopicPartition
from ams.identity.v1 import session_service_pb2 as pb
from ams.identity.v1 import session_service_pb2_grpc as rpc
from ams.identity.v1.token_ends_pb2 import TokenEnd
from google.protobuf.message import DecodeError

from ams_common import topics
from ams_common.client import ServiceToken, invoke, open_channel
from ams_common.ended_tokens import REMEMBERED_S, EndedTokens
from ams_common.errors import AppError
from ams_common.loops import run_forever
from ams_common.revisions import Revisions
from ams_common.server import finish
from ams_common.settings import ServiceSettings

_EVERY_S = 1.0
_PAGE_SIZE = 1000
_POLL_MS = 500
_FIRST_S = 2.0
_STOP_S = 5.0

log = logging.getLogger(__name__)

# Gives what has ended after a version, at most a page of it. Raises AppError.
Ask: TypeAlias = Callable[[int], Awaitable[Sequence[TokenEnd]]]


def asking(channel: grpc.aio.Channel, service: str, secret: str) -> Ask:
    """Asks identity-svc; `service` and `secret` prove who does."""
    stub, token = rpc.SessionServiceStub(channel), ServiceToken(channel, service, secret)

    async def ask(after_version: int) -> Sequence[TokenEnd]:
        request = pb.ListTokenEndsRequest(after_version=after_version, page_size=_PAGE_SIZE)
        return (await invoke(stub.ListTokenEnds, request, token=await token.get())).token_ends

    return ask


@asynccontextmanager
async def follow_token_ends(
    settings: ServiceSettings, service: str, secret: str
) -> AsyncIterator["TokenEndsFollower"]:
    """What a service of ours follows with, on a channel of its own. It knows already what has ended."""
    async with open_channel(settings.identity_address, is_apart=True) as channel:
        ask = asking(channel, service, secret)
        follower = TokenEndsFollower(ask, settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        await follower.begin()
        yield follower


class TokenEndsFollower:
    """Keeps `ended` up to date, by Kafka and by `ask`."""

    def __init__(self, ask: Ask, bootstrap_servers: str, topic_prefix: str = "") -> None:
        self.ended = EndedTokens()
        self._ask = ask
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic_prefix + topics.TOKEN_ENDS
        self._version = 0

    async def begin(self) -> None:
        """Knows what had ended before this process began, if it can be told soon."""
        # run() goes on asking; without identity-svc nobody's token can be verified for now.
        with suppress(AppError, TimeoutError):
            async with asyncio.timeout(_FIRST_S):
                await self.catch_up()

    async def run(self, revisions: Revisions) -> None:
        """For ever. Each way goes on while the other's server is away."""
        await asyncio.gather(
            revisions.follow("token_ends", "asking for ended tokens", self.catch_up),
            run_forever("hearing of ended tokens", self._hear, _EVERY_S),
        )

    async def catch_up(self) -> None:
        """Takes in all that identity-svc has now. Raises AppError."""
        while ended := await self._ask(self._version):
            for end in ended:
                self.ended.apply(end)
            self._version = max(self._version, ended[-1].version)
            if len(ended) < _PAGE_SIZE:
                return

    async def _hear(self) -> None:
        # Without a group: each process has to hear everything, and remembers it by itself.
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, metadata_max_age_ms=5_000)
        try:
            await consumer.start()
            partitions = await self._partitions(consumer)
            consumer.assign(partitions)
            since_ms = int((time.time() - REMEMBERED_S) * 1000)
            starts = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
            ends = await consumer.end_offsets(partitions)
            for partition in partitions:
                start = starts.get(partition)
                consumer.seek(partition, start.offset if start is not None else ends[partition])
            while True:
                fetched = await consumer.getmany(timeout_ms=_POLL_MS)
                for record in (record for records in fetched.values() for record in records):
                    self._take_in(record.value)
        finally:
            await finish(consumer.stop(), _STOP_S)

    def _take_in(self, message: bytes) -> None:
        try:
            self.ended.apply(TokenEnd.FromString(message))
        except (DecodeError, ValueError) as error:
            # Of a later release, or not ours. identity-svc tells the same when it is asked.
            log.error("a token's end can't be read", extra={"error": repr(error)})

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """Those of the topic; waits until it is made."""
        await consumer.topics()
        while not (numbers := consumer.partitions_for_topic(self._topic)):
            await asyncio.sleep(_EVERY_S)
            await consumer.topics()
        return [TopicPartition(self._topic, number) for number in numbers]
