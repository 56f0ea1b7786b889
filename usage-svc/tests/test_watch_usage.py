"""Live figures over the real server and database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.clock import utc_now
from ams_common.ids import uuid7
from ams_common.live_answers import LiveAnswers
from ams_common.testing.eventually import eventually
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import ACCESS_TOKEN_TTL

Watch = Callable[..., Any]
_METHODS = {CONSUMER: "WatchConsumerUsage", MERCHANT: "WatchMerchantUsage", ADMIN: "WatchPlatformUsage"}
# Of a whole day, so that the clock changes nothing.
YESTERDAY = (utc_now() - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def watch(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Watch:
    def open_stream(role: Any, user_id: UUID, **fields: Any) -> Any:
        timeout = fields.pop("timeout", 30)
        token = issuer.user_token(user_id, role, now=fields.pop("now", None))
        request = pb.GetUsageRequest(**fields)
        metadata = (("authorization", f"Bearer {token}"),)
        return getattr(stub, _METHODS[role])(request, metadata=metadata, timeout=timeout)

    return open_stream


def of_yesterday() -> dict[str, Any]:
    request = pb.GetUsageRequest()
    request.start.FromDatetime(YESTERDAY)
    request.end.FromDatetime(YESTERDAY + timedelta(days=1))
    return {"start": request.start, "end": request.end}


async def following(stream: AsyncIterator[pb.UsageReport], requests: int) -> pb.UsageReport:
    """The first report of so many requests."""
    async with asyncio.timeout(20):
        async for report in stream:
            if report.total.requests == requests:
                return report
    raise AssertionError("the stream has ended")


async def test_figures_come_at_once_and_again_when_they_have_changed(
    subject: Any, ingest: Any, watch: Watch
) -> None:
    streams = [
        watch(CONSUMER, subject.consumer_id, **of_yesterday()),
        watch(MERCHANT, subject.merchant_id, **of_yesterday()),
        watch(ADMIN, uuid7(), **of_yesterday()),
    ]
    for stream in streams:
        await following(stream, 0)
    await ingest([subject.event(YESTERDAY)])
    for stream in streams:
        await following(stream, 1)
    await ingest([subject.event(YESTERDAY), subject.event(YESTERDAY, status_code=500)])
    for stream in streams:
        assert (await following(stream, 3)).total.errors == 1
        stream.cancel()


async def test_what_has_not_changed_is_not_told_again(subject: Any, ingest: Any, watch: Watch) -> None:
    stream = watch(CONSUMER, subject.consumer_id, **of_yesterday(), timeout=1.0)
    reports = []
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for report in stream:
            reports.append(report)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(reports) == 1


async def test_nobody_watches_what_is_somebody_elses(subject: Any, ingest: Any, watch: Watch) -> None:
    await ingest([subject.event(YESTERDAY)])
    own = watch(CONSUMER, subject.consumer_id, **of_yesterday())
    others = [
        watch(CONSUMER, subject.merchant_id, **of_yesterday()),
        watch(MERCHANT, subject.consumer_id, **of_yesterday()),
        watch(CONSUMER, uuid7(), **of_yesterday(), service_id=str(subject.service_id)),
    ]
    assert (await own.read()).total.requests == 1
    for stream in others:
        assert (await stream.read()).total.requests == 0
        stream.cancel()
    own.cancel()


async def test_whoever_may_not_ask_may_not_watch(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> None:
    token = issuer.user_token(uuid7(), CONSUMER)
    for metadata, code in (
        ((), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", f"Bearer {token}"),), grpc.StatusCode.PERMISSION_DENIED),
        ((("authorization", "Bearer no-token"),), grpc.StatusCode.UNAUTHENTICATED),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.WatchMerchantUsage(pb.GetUsageRequest(), metadata=metadata, timeout=10).read()
        assert raised.value.code() == code


async def test_a_question_that_makes_no_sense_is_refused(watch: Watch) -> None:
    for fields in ({"time_zone": "Mars/Phobos"}, {"merchant_id": str(uuid7())}):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch(CONSUMER, uuid7(), **fields).read()
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_ends_with_the_token_that_opened_it(subject: Any, watch: Watch) -> None:
    nearly_over = utc_now() - ACCESS_TOKEN_TTL + timedelta(seconds=2)
    stream = watch(CONSUMER, subject.consumer_id, **of_yesterday(), now=nearly_over)
    assert (await stream.read()).total.requests == 0
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.read()
    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_caller_who_hangs_up_frees_the_place(
    subject: Any, watch: Watch, live: LiveAnswers[pb.UsageReport]
) -> None:
    stream = watch(CONSUMER, subject.consumer_id)
    await stream.read()
    assert live.watchers == 1
    stream.cancel()

    async def is_free() -> bool:
        return live.watchers == 0

    await eventually(is_free)
