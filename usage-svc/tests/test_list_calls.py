"""The log of calls over the real server and database."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import BROKEN_OFF, SERVED
from ams_common.clock import from_timestamp, utc_now
from ams_common.ids import uuid7
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.lists import walk
from ams_common.testing.tokens import TestIssuer

Ask = Callable[..., Awaitable[pb.ListCallsResponse]]


@pytest.fixture
def ask(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Ask:
    """`ask(role, user_id, **fields)`: of the day before yesterday, unless a day is named."""
    methods = {CONSUMER: "ListConsumerCalls", MERCHANT: "ListMerchantCalls", ADMIN: "ListPlatformCalls"}

    async def list_calls(role: Any, user_id: UUID, /, **fields: Any) -> pb.ListCallsResponse:
        metadata = (("authorization", f"Bearer {issuer.user_token(user_id, role)}"),)
        request = pb.ListCallsRequest(**{"day": DAY, **fields})
        answer: pb.ListCallsResponse = await getattr(stub, methods[role])(request, metadata=metadata)
        return answer

    return list_calls


NOON = (utc_now() - timedelta(days=2)).replace(hour=12, minute=0, second=0, microsecond=0)
DAY = f"{NOON:%Y-%m-%d}"


def ids(answer: pb.ListCallsResponse | list[pb.Call]) -> list[str]:
    calls = answer if isinstance(answer, list) else answer.calls
    return [call.event_id for call in calls]


def id_of(event: Any) -> str:
    return str(UUID(bytes=event.event_id))


async def test_a_call_is_told_whole_to_its_consumer_and_to_admins(
    new_subject: Any, ingest: Any, ask: Ask
) -> None:
    subject = new_subject(project_id=uuid7())
    event = subject.event(
        NOON,
        outcome=BROKEN_OFF,
        is_test=True,
        is_continuation=True,
        request_id="mine",
        status_code=206,
        request_messages=3,
        response_messages=4,
    )
    await ingest([event])
    (call,) = (await ask(CONSUMER, subject.consumer_id)).calls
    expected = pb.Call(
        event_id=id_of(event),
        occurred_at=event.timestamp,
        service_id=str(subject.service_id),
        api_key_id=str(subject.api_key_id),
        key=subject.key_prefix,
        merchant_id=str(subject.merchant_id),
        project_id=str(subject.project_id),
        status_code=206,
        outcome=BROKEN_OFF,
        charge_class=SERVED,
        is_test=True,
        request_bytes=10,
        response_bytes=100,
        response_time_ms=7,
        request_id="mine",
        is_continuation=True,
        request_messages=3,
        response_messages=4,
    )
    assert call == expected
    expected.consumer = str(subject.consumer_id)
    assert list((await ask(ADMIN, uuid7())).calls) == [expected]


async def test_a_merchant_is_told_pseudonyms_and_no_identity(
    new_subject: Any, ingest: Any, ask: Ask, pseudonyms: Pseudonyms
) -> None:
    subject = new_subject(project_id=uuid7())
    await ingest([subject.event(NOON)])
    (call,) = (await ask(MERCHANT, subject.merchant_id)).calls
    assert call.consumer == pseudonyms.of_consumer(subject.merchant_id, subject.consumer_id)
    assert call.key == pseudonyms.of_key(subject.merchant_id, subject.api_key_id)
    for hidden in (subject.consumer_id, subject.api_key_id, subject.key_prefix, subject.project_id):
        assert str(hidden) not in str(call)


async def test_pages_go_from_the_newest_to_the_oldest_and_tell_each_once(
    subject: Any, new_subject: Any, ingest: Any, ask: Ask
) -> None:
    """Also those of one moment, and of several keys."""
    other = new_subject(consumer_id=subject.consumer_id, merchant_id=subject.merchant_id)
    times = [NOON + timedelta(seconds=second // 3) for second in range(20)]
    events = [(subject if number % 2 else other).event(at) for number, at in enumerate(times)]
    await ingest(events)
    newest_first = sorted(
        events, key=lambda event: (event.timestamp.ToNanoseconds(), event.event_id), reverse=True
    )
    for role, owner in ((CONSUMER, subject.consumer_id), (MERCHANT, subject.merchant_id), (ADMIN, uuid7())):

        async def page(role: Any = role, owner: UUID = owner, **fields: Any) -> pb.ListCallsResponse:
            return await ask(role, owner, **fields)

        for page_size in (1, 3, 20, 50):
            found = await walk(page, page_size=page_size)
            assert ids(found) == [id_of(event) for event in newest_first]


@pytest.mark.parametrize("time_zone", ["", "Europe/Zurich", "America/New_York", "Asia/Kolkata"])
async def test_a_day_is_one_of_the_zone(subject: Any, ingest: Any, ask: Ask, time_zone: str) -> None:
    offsets = {"": 0, "Europe/Zurich": 60, "America/New_York": -300, "Asia/Kolkata": 330}
    year = utc_now().year - (0 if utc_now().month > 2 else 1)
    start = datetime(year, 1, 15, tzinfo=UTC) - timedelta(minutes=offsets[time_zone])
    tick = timedelta(microseconds=1)
    inside = [subject.event(start), subject.event(start + timedelta(days=1) - tick)]
    await ingest([subject.event(start - tick), *inside, subject.event(start + timedelta(days=1))])
    for role, owner in ((CONSUMER, subject.consumer_id), (ADMIN, uuid7())):
        found = await ask(role, owner, day=f"{year}-01-15", time_zone=time_zone)
        assert ids(found) == [id_of(event) for event in inside[::-1]]


async def test_each_filter_lets_through_what_fits(
    new_subject: Any, ingest: Any, ask: Ask, pseudonyms: Pseudonyms
) -> None:
    one, other = new_subject(project_id=uuid7()), None
    other = new_subject(consumer_id=one.consumer_id, merchant_id=one.merchant_id)
    slow = other.event(NOON, status_code=503, response_time_ms=900)
    mine = one.event(NOON)
    await ingest([mine, slow])
    merchant_id = one.merchant_id
    for role, owner, fields, event in (
        (CONSUMER, one.consumer_id, {"service_id": str(one.service_id)}, mine),
        (CONSUMER, one.consumer_id, {"api_key_id": str(other.api_key_id)}, slow),
        (CONSUMER, one.consumer_id, {"project_id": str(one.project_id)}, mine),
        (CONSUMER, one.consumer_id, {"status_class": "5xx"}, slow),
        (CONSUMER, one.consumer_id, {"min_response_time_ms": 900}, slow),
        (MERCHANT, merchant_id, {"service_id": str(one.service_id)}, mine),
        (MERCHANT, merchant_id, {"key": pseudonyms.of_key(merchant_id, one.api_key_id)}, mine),
        (MERCHANT, merchant_id, {"status_class": "2xx"}, mine),
        (ADMIN, uuid7(), {"min_response_time_ms": 8}, slow),
        (ADMIN, uuid7(), {"status_class": "2xx"}, mine),
        (ADMIN, uuid7(), {"api_key_id": str(one.api_key_id)}, mine),
    ):
        assert ids(await ask(role, owner, **fields)) == [id_of(event)], fields
    consumer = pseudonyms.of_consumer(merchant_id, one.consumer_id)
    assert len((await ask(MERCHANT, merchant_id, consumer=consumer)).calls) == 2
    assert len((await ask(ADMIN, uuid7(), consumer=str(one.consumer_id))).calls) == 2


async def test_a_call_is_found_by_the_id_that_its_client_got(
    subject: Any, new_subject: Any, ingest: Any, ask: Ask
) -> None:
    """On any day; the event's own id where the client sent none."""
    other = new_subject()
    named = [subject.event(NOON - timedelta(days=days), request_id="order-7") for days in (0, 100)]
    unnamed, foreign = subject.event(NOON), other.event(NOON, request_id="order-7")
    await ingest([*named, unnamed, foreign])
    consumer_id = subject.consumer_id
    found = await ask(CONSUMER, consumer_id, day="", request_id="order-7")
    assert ids(found) == [id_of(event) for event in named]
    assert ids(await ask(CONSUMER, consumer_id, request_id="order-7")) == [id_of(named[0])]
    (call,) = (await ask(CONSUMER, consumer_id, day="", request_id=id_of(unnamed))).calls
    assert call.request_id == call.event_id == id_of(unnamed)
    assert len((await ask(ADMIN, uuid7(), day="", request_id="order-7")).calls) == 3
    # What has an id of its client's isn't told by that of its event.
    assert not (await ask(CONSUMER, consumer_id, day="", request_id=id_of(named[0]))).calls

    async def page(**fields: Any) -> pb.ListCallsResponse:
        return await ask(CONSUMER, consumer_id, day="", request_id="order-7", **fields)

    assert ids(await walk(page, page_size=1)) == ids(found)


async def test_nobody_finds_what_is_somebody_elses(
    subject: Any, new_subject: Any, ingest: Any, ask: Ask, pseudonyms: Pseudonyms
) -> None:
    """By each filter that the role has, by the id of a request, and with the page token of somebody else's
    log."""
    mine, other = subject, new_subject(project_id=uuid7())
    hidden = [other.event(NOON + timedelta(seconds=second), request_id="theirs") for second in range(3)]
    unnamed = other.event(NOON)
    await ingest([mine.event(NOON), *hidden, unnamed])
    token = (await ask(CONSUMER, other.consumer_id, page_size=1)).next_page_token
    foreign: list[dict[str, Any]] = [
        {"service_id": str(other.service_id)},
        {"request_id": "theirs"},
        {"request_id": "theirs", "day": ""},
        {"request_id": id_of(unnamed), "day": ""},
    ]
    of_consumers = [{"api_key_id": str(other.api_key_id)}, {"project_id": str(other.project_id)}]
    of_merchants = [
        {"consumer": pseudonyms.of_consumer(other.merchant_id, other.consumer_id)},
        {"consumer": pseudonyms.of_consumer(other.merchant_id, mine.consumer_id)},
        {"key": pseudonyms.of_key(other.merchant_id, other.api_key_id)},
        {"key": pseudonyms.of_key(other.merchant_id, mine.api_key_id)},
    ]
    for role, owner, filters in (
        (CONSUMER, mine.consumer_id, foreign + of_consumers),
        (MERCHANT, mine.merchant_id, foreign + of_merchants),
    ):
        for fields in filters:
            assert await ask(role, owner, **fields) == pb.ListCallsResponse(), fields
        assert len((await ask(role, owner, page_token=token)).calls) == 1
    for role, outsider in ((CONSUMER, mine.merchant_id), (MERCHANT, mine.consumer_id), (CONSUMER, uuid7())):
        assert not (await ask(role, outsider)).calls


@pytest.mark.parametrize(
    "fields",
    [
        {"day": ""},
        {"day": "2026-02-30"},
        {"time_zone": "Mars/Phobos"},
        {"status_class": "ok"},
        {"page_token": "W10"},
        {"consumer": str(uuid7())},
        {"key": "key_aaaaaaaaaaaaaaaa"},
    ],
)
async def test_what_makes_no_sense_is_refused(ask: Ask, fields: dict[str, str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(CONSUMER, uuid7(), **fields)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_token_of_another_day_never_leads_out_of_the_day(subject: Any, ingest: Any, ask: Ask) -> None:
    await ingest([subject.event(NOON + timedelta(days=1, seconds=second)) for second in range(3)])
    await ingest([subject.event(NOON)])
    tomorrow = f"{NOON + timedelta(days=1):%Y-%m-%d}"
    token = (await ask(CONSUMER, subject.consumer_id, day=tomorrow, page_size=1)).next_page_token
    calls = (await ask(CONSUMER, subject.consumer_id, page_token=token)).calls
    assert [from_timestamp(call.occurred_at) for call in calls] == [NOON]
