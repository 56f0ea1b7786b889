from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import UPSTREAM_FAILED
from ams_common.clock import from_timestamp, to_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.tokens import TestIssuer
from usage_svc.store import Store

Ask = Callable[..., Awaitable[pb.UsageReport]]


@pytest.fixture
def of_consumer(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Ask:
    async def ask(consumer_id: UUID, **fields: Any) -> pb.UsageReport:
        metadata = (("authorization", f"Bearer {issuer.user_token(consumer_id, CONSUMER)}"),)
        return await stub.GetConsumerUsage(pb.GetConsumerUsageRequest(**fields), metadata=metadata)

    return ask


@pytest.fixture
def of_merchant(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Ask:
    async def ask(merchant_id: UUID, **fields: Any) -> pb.UsageReport:
        metadata = (("authorization", f"Bearer {issuer.user_token(merchant_id, MERCHANT)}"),)
        return await stub.GetMerchantUsage(pb.GetMerchantUsageRequest(**fields), metadata=metadata)

    return ask


@pytest.fixture
def of_platform(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Ask:
    async def ask(**fields: Any) -> pb.UsageReport:
        metadata = (("authorization", f"Bearer {issuer.user_token(uuid7(), ADMIN)}"),)
        return await stub.GetPlatformUsage(pb.GetPlatformUsageRequest(**fields), metadata=metadata)

    return ask


def groups(report: pb.UsageReport) -> dict[str, int]:
    """Requests by group, over all buckets."""
    found: dict[str, int] = {}
    for point in report.points:
        found[point.group] = found.get(point.group, 0) + point.figures.requests
    return found


async def test_a_report_has_a_point_per_bucket_in_order_and_their_total(
    subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    hour = utc_now().replace(minute=0, second=0, microsecond=0)
    two_hours_ago = hour - timedelta(hours=2)
    await ingest(
        [
            subject.event(hour, response_time_ms=5),
            subject.event(two_hours_ago, response_time_ms=10),
            subject.event(two_hours_ago, response_time_ms=30, outcome=UPSTREAM_FAILED, status_code=504),
        ]
    )
    report = await of_consumer(subject.consumer_id, granularity=pb.HOUR)
    assert [from_timestamp(point.bucket_start) for point in report.points] == [two_hours_ago, hour]
    assert [point.figures.requests for point in report.points] == [2, 1]
    assert [point.figures.mean_response_time_ms for point in report.points] == [20, 5]
    assert report.total == pb.UsageFigures(
        requests=3, billable_requests=2, request_bytes=30, response_bytes=300, mean_response_time_ms=15
    )
    assert from_timestamp(report.end) - from_timestamp(report.start) == timedelta(hours=25)
    assert report.granularity == pb.HOUR


async def test_what_was_just_counted_shows_without_naming_a_range(
    subject: Any, ingest: Any, of_consumer: Ask, of_merchant: Ask, of_platform: Ask
) -> None:
    await ingest([subject.event()])
    for granularity in pb.Granularity.values():
        for report in (
            await of_consumer(subject.consumer_id, granularity=granularity),
            await of_merchant(subject.merchant_id, granularity=granularity),
            await of_platform(granularity=granularity),
        ):
            assert report.total.requests == 1
            assert report.granularity == (granularity or pb.DAY)


async def test_the_range_leaves_out_what_is_outside(subject: Any, ingest: Any, of_consumer: Ask) -> None:
    noon = (utc_now() - timedelta(days=2)).replace(hour=12, minute=0, second=0, microsecond=0)
    last = noon + timedelta(hours=1)
    before, after = noon - timedelta(microseconds=1), last
    await ingest([subject.event(at) for at in (before, noon, last - timedelta(microseconds=1), after)])
    report = await of_consumer(
        subject.consumer_id, start=to_timestamp(noon), end=to_timestamp(last), granularity=pb.HOUR
    )
    assert report.total.requests == 2


async def test_a_consumer_sees_only_their_own_usage(
    subject: Any, new_subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    other = new_subject(merchant_id=subject.merchant_id, service_id=subject.service_id)
    await ingest([subject.event(), other.event(), other.event()])
    assert (await of_consumer(subject.consumer_id)).total.requests == 1
    assert (await of_consumer(uuid7())).total.requests == 0
    others_key = await of_consumer(subject.consumer_id, api_key_id=str(other.api_key_id))
    assert others_key.total.requests == 0 and not others_key.points


async def test_a_consumer_cuts_by_service_key_and_status(
    subject: Any, new_subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    other = new_subject(consumer_id=subject.consumer_id)
    await ingest([subject.event(), other.event(), other.event(status_code=404)])
    consumer_id = subject.consumer_id
    assert groups(await of_consumer(consumer_id)) == {"": 3}
    assert groups(await of_consumer(consumer_id, group_by=pb.SERVICE)) == {
        str(subject.service_id): 1,
        str(other.service_id): 2,
    }
    assert groups(await of_consumer(consumer_id, group_by=pb.KEY)) == {
        subject.key_prefix: 1,
        other.key_prefix: 2,
    }
    assert groups(await of_consumer(consumer_id, group_by=pb.STATUS_CLASS)) == {"2xx": 2, "4xx": 1}
    assert groups(await of_consumer(consumer_id, service_id=str(other.service_id))) == {"": 2}
    assert groups(await of_consumer(consumer_id, api_key_id=str(subject.api_key_id))) == {"": 1}


async def test_a_merchant_sees_only_the_usage_of_their_services(
    subject: Any, new_subject: Any, ingest: Any, of_merchant: Ask
) -> None:
    rival = new_subject(consumer_id=subject.consumer_id, api_key_id=subject.api_key_id)
    await ingest([subject.event(), rival.event(), rival.event()])
    assert (await of_merchant(subject.merchant_id)).total.requests == 1
    rivals_service = await of_merchant(subject.merchant_id, service_id=str(rival.service_id))
    assert rivals_service.total.requests == 0 and not rivals_service.points
    rivals_key = await of_merchant(subject.merchant_id, key_prefix=rival.key_prefix)
    assert rivals_key.total.requests == 0
    assert (await of_merchant(subject.consumer_id)).total.requests == 0


async def test_a_merchant_sees_key_prefixes_and_never_a_consumer(
    subject: Any, new_subject: Any, ingest: Any, of_merchant: Ask
) -> None:
    other = new_subject(merchant_id=subject.merchant_id)
    await ingest([subject.event(), other.event()])
    reports = {
        group_by: await of_merchant(subject.merchant_id, group_by=group_by)
        for group_by in pb.GroupBy.values()
    }
    assert groups(reports[pb.KEY]) == {subject.key_prefix: 1, other.key_prefix: 1}
    for report in reports.values():
        assert report.total.requests == 2
        for hidden in (subject.consumer_id, subject.api_key_id, other.consumer_id, other.api_key_id):
            assert str(hidden) not in str(report)
            assert hidden.bytes not in report.SerializeToString()


async def test_a_merchant_cuts_by_service_and_key_prefix(
    subject: Any, new_subject: Any, ingest: Any, of_merchant: Ask
) -> None:
    other = new_subject(merchant_id=subject.merchant_id)
    await ingest([subject.event(), other.event(), other.event(status_code=500)])
    merchant_id = subject.merchant_id
    assert groups(await of_merchant(merchant_id, service_id=str(other.service_id))) == {"": 2}
    assert groups(await of_merchant(merchant_id, key_prefix=subject.key_prefix)) == {"": 1}
    assert groups(await of_merchant(merchant_id, key_prefix="ams_live_%")) == {}
    assert groups(await of_merchant(merchant_id, group_by=pb.STATUS_CLASS)) == {"2xx": 2, "5xx": 1}


async def test_an_admin_sees_all_and_cuts_by_whom_and_what(
    subject: Any, new_subject: Any, ingest: Any, of_platform: Ask
) -> None:
    other = new_subject(consumer_id=subject.consumer_id)
    third = new_subject(merchant_id=subject.merchant_id)
    await ingest([subject.event(), *[other.event()] * 2, other.event(), third.event(), third.event()])
    assert (await of_platform()).total.requests == 5
    assert groups(await of_platform(group_by=pb.SERVICE)) == {
        str(subject.service_id): 1,
        str(other.service_id): 2,
        str(third.service_id): 2,
    }
    consumer_id, merchant_id = str(subject.consumer_id), str(subject.merchant_id)
    assert groups(await of_platform(consumer_id=consumer_id)) == {"": 3}
    assert groups(await of_platform(merchant_id=merchant_id)) == {"": 3}
    assert groups(await of_platform(consumer_id=consumer_id, merchant_id=merchant_id)) == {"": 1}
    assert groups(await of_platform(service_id=str(other.service_id))) == {"": 2}
    assert groups(await of_platform(merchant_id=merchant_id, service_id=str(other.service_id))) == {}


async def test_each_report_reads_its_range_of_an_index(
    new_subject: Any, ingest: Any, database: Database
) -> None:
    now = utc_now()
    subjects = [new_subject() for _ in range(300)]
    await ingest([subject.event(now - timedelta(minutes=ago)) for subject in subjects for ago in range(10)])
    one = subjects[0]
    period = {
        "granularity": "minute",
        "range_start": now - timedelta(seconds=90),
        "range_end": now - timedelta(seconds=30),
    }
    unfiltered = {"service_id": None, "group_by": "service", "max_rows": 100}
    async with database.connection() as connection:
        await connection.execute("ANALYZE usage_rollups")
        for name, index, whose in (
            (
                "usage_of_consumer",
                "usage_rollups_by_consumer",
                {"consumer_id": one.consumer_id, "merchant_id": None, "api_key_id": None},
            ),
            (
                "usage_of_merchant",
                "usage_rollups_by_merchant",
                {"merchant_id": one.merchant_id, "key_prefix": None},
            ),
            ("usage_of_platform", "usage_rollups_granularity_bucket_start", {}),
        ):
            query = Store.queries._queries[name]
            arguments = query.arguments({**period, **unfiltered, **whose})
            plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query.sql}", *arguments)
            assert index in plan, plan
            assert "Seq Scan" not in plan, plan
