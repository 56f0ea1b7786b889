"""Access tokens that end before their time: what verifiers say, and how they hear of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import grpc
import pytest
from aiokafka import AIOKafkaProducer
from ams.identity.v1.identity_service_pb2 import Revisions as Said
from ams.identity.v1.token_ends_pb2 import OlderTokens, TokenEnd
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common import topics
from ams_common.client import listen
from ams_common.clock import utc_now
from ams_common.context import Caller
from ams_common.ended_tokens import REMEMBERED_S, EndedTokens
from ams_common.errors import UnauthenticatedError, UnavailableError
from ams_common.ids import uuid7
from ams_common.revisions import Revisions
from ams_common.server import build_server, cancel
from ams_common.testing.eventually import eventually
from ams_common.testing.tokens import TestIssuer
from ams_common.token_ends import TokenEndsFollower
from ams_common.tokens import TokenVerifier, sign_user_token

USER = uuid7()
SESSION = f"session:{uuid7()}"


def end_of(credential: str, version: int = 1) -> TokenEnd:
    return TokenEnd(version=version, credential=credential)


def end_below(user_id: UUID, generation: int, version: int = 1) -> TokenEnd:
    return TokenEnd(version=version, older_tokens=OlderTokens(user_id=str(user_id), generation=generation))


def code_of(ended: EndedTokens, caller: Caller) -> str:
    error = ended.error_of(caller)
    return error.code if error is not None else ""


async def test_tokens_of_what_has_ended_are_refused_and_no_others() -> None:
    ended = EndedTokens()
    for end in (end_of(SESSION), end_of("token:1"), end_below(USER, 3), end_below(USER, 2)):
        ended.apply(end)
    expected = {
        Caller(user_id=uuid7(), credential=SESSION): "session_ended",
        Caller(user_id=uuid7(), credential="token:1"): "token_revoked",
        Caller(user_id=uuid7(), credential="token:2"): "",
        Caller(user_id=USER, credential="session:1", generation=2): "token_ended",
        Caller(user_id=USER, credential="session:2", generation=3): "",
        Caller(user_id=uuid7(), credential="session:3"): "",
        Caller(service="keys-svc", credential="service"): "",
        Caller(): "",
    }
    assert {caller: code_of(ended, caller) for caller in expected} == expected


async def test_what_no_token_can_be_of_any_more_is_forgotten() -> None:
    now_s = 0.0
    ended = EndedTokens(lambda: now_s)
    ended.apply(end_of(SESSION))
    ended.apply(end_below(USER, 1))
    now_s = REMEMBERED_S - 1
    ended.apply(end_of("token:1"))
    assert code_of(ended, Caller(user_id=USER, credential=SESSION)) == "session_ended"
    now_s = REMEMBERED_S
    ended.apply(end_of("token:2"))
    assert code_of(ended, Caller(user_id=USER, credential=SESSION)) == ""
    assert code_of(ended, Caller(user_id=USER, credential="token:1")) == "token_revoked"


async def test_a_verifier_consults_what_has_ended(issuer: TestIssuer) -> None:
    verifier = TokenVerifier(issuer)
    token = issuer.user_token(USER, CONSUMER, credential=SESSION)
    assert (await verifier.verify(token)).credential == SESSION
    verifier.ended.apply(end_of(SESSION))
    with pytest.raises(UnauthenticatedError) as refused:
        await verifier.verify(token)
    assert refused.value.code == "session_ended"


async def test_a_token_ends_with_what_it_was_traded_for(issuer: TestIssuer) -> None:
    now = utc_now()
    token = sign_user_token(
        issuer.key, USER, [CONSUMER], CONSUMER, now, expires_at=now + timedelta(minutes=1)
    )
    expires_at = (await TokenVerifier(issuer).verify(token)).expires_at
    assert expires_at is not None
    assert expires_at - now <= timedelta(minutes=1)


class Endless(rpc.UsageServiceServicer):
    """Its streams say one thing, and go on."""

    async def WatchConsumerUsage(
        self, request: pb.GetUsageRequest, context: object
    ) -> AsyncGenerator[pb.UsageReport, None]:
        yield pb.UsageReport()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("end", "code"), [(end_of(SESSION), "session_ended"), (end_below(USER, 1), "token_ended")]
)
async def test_a_stream_ends_with_the_token_that_opened_it(
    issuer: TestIssuer, end: TokenEnd, code: str
) -> None:
    verifier = TokenVerifier(issuer)
    descriptor = pb.DESCRIPTOR.services_by_name["UsageService"]
    endless = Endless()  # type: ignore[abstract]
    server = build_server(
        verifier,
        [(descriptor, partial(rpc.add_UsageServiceServicer_to_server, endless))],
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = rpc.UsageServiceStub(channel).WatchConsumerUsage
        mine = listen(
            watch, pb.GetUsageRequest(), token=issuer.user_token(USER, CONSUMER, credential=SESSION)
        )
        other = listen(watch, pb.GetUsageRequest(), token=issuer.user_token(uuid7(), CONSUMER))
        assert await anext(mine) == await anext(other)
        verifier.ended.apply(end)
        with pytest.raises(UnauthenticatedError) as ended:
            await asyncio.wait_for(anext(mine), 5)
        assert ended.value.code == code
        still_open = asyncio.ensure_future(anext(other))
        assert await asyncio.wait({still_open}, timeout=0.2) == (set(), {still_open})
        still_open.cancel()
    await server.stop(None)


@asynccontextmanager
async def following(follower: TokenEndsFollower) -> AsyncIterator[None]:
    """`async with following(follower):` it follows meanwhile; nobody says how far the list is."""

    async def away() -> Said:
        raise UnavailableError("service_unavailable", "identity-svc is away.")

    revisions = Revisions(away)
    running = [asyncio.create_task(work) for work in (follower.run(revisions), revisions.run())]
    try:
        yield
    finally:
        await cancel(running)
        await asyncio.gather(*running, return_exceptions=True)


def knows(follower: TokenEndsFollower, *credentials: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        callers = [Caller(user_id=uuid7(), credential=credential) for credential in credentials]
        return all(code_of(follower.ended, caller) for caller in callers)

    return check


async def test_an_end_is_heard_of_while_kafka_is_away(nobody_listens: str) -> None:
    told = [end_of("session:1", 5)]

    async def ask(after_version: int) -> Sequence[TokenEnd]:
        return [end for end in told if end.version > after_version]

    follower = TokenEndsFollower(ask, nobody_listens)
    await follower.begin()
    assert await knows(follower, "session:1")()
    told.append(end_of("session:2", 9))
    async with following(follower):
        await eventually(knows(follower, "session:2"), 30.0)


async def test_an_end_is_heard_of_while_identity_svc_is_away_also_one_of_before(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async def ask(after_version: int) -> Sequence[TokenEnd]:
        raise UnavailableError("service_unavailable", "identity-svc is away.")

    await topics.create_missing(kafka_bootstrap, topic_prefix)
    async with producing(kafka_bootstrap) as producer:
        topic = topic_prefix + topics.TOKEN_ENDS
        await producer.send_and_wait(topic, end_of("session:1").SerializeToString(), key=b"a")
        await producer.send_and_wait(topic, b"\xff no message", key=b"a")
        follower = TokenEndsFollower(ask, kafka_bootstrap, topic_prefix)
        await follower.begin()
        async with following(follower):
            await eventually(knows(follower, "session:1"), 30.0)
            await producer.send_and_wait(topic, end_of("session:2").SerializeToString(), key=b"b")
            await eventually(knows(follower, "session:2"), 30.0)


def producing(bootstrap_servers: str) -> Any:
    return AIOKafkaProducer(bootstrap_servers=bootstrap_servers)


async def test_more_ends_than_one_answer_holds_are_all_taken_in(nobody_listens: str) -> None:
    told = [end_of(f"session:{n}", n) for n in range(1, 2501)]
    asked: list[int] = []

    async def ask(after_version: int) -> Sequence[TokenEnd]:
        asked.append(after_version)
        return [end for end in told if end.version > after_version][:1000]

    follower = TokenEndsFollower(ask, nobody_listens)
    await follower.catch_up()
    assert await knows(follower, *(end.credential for end in told))()
    assert asked == [0, 1000, 2000]
