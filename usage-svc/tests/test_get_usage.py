"""Figures over the real server and database."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import UPSTREAM_FAILED
from ams_common.clock import from_timestamp, to_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.tokens import TestIssuer
from usage_svc.questions.store import QuestionStore

Ask = Callable[..., Awaitable[pb.UsageReport]]


@pytest.fixture
def of_consumer(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Ask:
    async def ask(consumer_id: UUID, /, **fields: Any) -> pb.UsageReport:
        metadata = (("authorization", f"Bearer {issuer.user_token(consumer_id, CONSUMER)}"),)
        return await stub.GetConsumerUsage(pb.GetUsageRequest(**fields), metadata=metadata)

    return ask


@pytest.fixture
def of_merchant(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Ask:
    async def ask(merchant_id: UUID, /, **fields: Any) -> pb.UsageReport:
        metadata = (("authorization", f"Bearer {issuer.user_token(merchant_id, MERCHANT)}"),)
        return await stub.GetMerchantUsage(pb.GetUsageRequest(**fields), metadata=metadata)

    return ask


@pytest.fixture
def of_platform(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Ask:
    async def ask(**fields: Any) -> pb.UsageReport:
        metadata = (("authorization", f"Bearer {issuer.user_token(uuid7(), ADMIN)}"),)
        return await stub.GetPlatformUsage(pb.GetUsageRequest(**fields), metadata=metadata)

    return ask


def groups(report: pb.UsageReport) -> dict[str, int]:
    """Requests by group; the points say the same as the groups' totals."""
    found: dict[str, int] = {}
    for point in report.points:
        found[point.group] = found.get(point.group, 0) + point.figures.requests
    if report.groups:
        assert found == {total.group: total.figures.requests for total in report.groups}
    return found


async def refusal(asking: Awaitable[pb.UsageReport]) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asking
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return raised.value.details() or ""


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
        requests=3,
        billable_requests=2,
        errors=1,
        request_bytes=30,
        response_bytes=300,
        mean_response_time_ms=15,
        p50_response_time_ms=10,
        p95_response_time_ms=10,
        p99_response_time_ms=10,
    )
    assert from_timestamp(report.end) - from_timestamp(report.start) == timedelta(hours=25)
    assert report.granularity == pb.HOUR
    assert not report.groups and not report.HasField("previous")


async def test_quantiles_are_those_of_all_that_is_summed(
    subject: Any, new_subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    other = new_subject(consumer_id=subject.consumer_id)
    now = utc_now()
    await ingest(
        [
            (subject if ms % 2 else other).event(now - timedelta(days=ms % 20), response_time_ms=ms)
            for ms in range(1, 1001)
        ]
    )
    report = await of_consumer(subject.consumer_id)
    assert report.total.requests == 1000
    for quantile, true in (("p50", 500), ("p95", 950), ("p99", 990)):
        assert getattr(report.total, f"{quantile}_response_time_ms") == pytest.approx(true, rel=0.0125)


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


@pytest.mark.parametrize(
    ("time_zone", "midnight"),
    [
        ("UTC", "00:00"),
        ("Europe/Zurich", "23:00"),
        ("America/New_York", "05:00"),
        ("Asia/Kolkata", "18:30"),
        ("Asia/Kathmandu", "18:15"),
        ("Pacific/Kiritimati", "10:00"),
    ],
)
async def test_days_and_months_begin_as_in_the_zone(
    subject: Any, ingest: Any, of_consumer: Ask, time_zone: str, midnight: str
) -> None:
    """Around the last midnight of a winter's month, to the microsecond."""
    hour, minute = map(int, midnight.split(":"))
    year = utc_now().year - (0 if utc_now().month > 2 else 1)
    edge = datetime(year, 2, 1, hour, minute, tzinfo=UTC) - timedelta(days=hour >= 10)
    tick = timedelta(microseconds=1)
    await ingest(
        [subject.event(edge - tick), subject.event(edge), subject.event(edge + timedelta(hours=24) - tick)]
    )
    span = {
        "start": to_timestamp(edge - timedelta(days=1)),
        "end": to_timestamp(edge + timedelta(days=1)),
        "time_zone": time_zone,
    }
    by_day = await of_consumer(subject.consumer_id, granularity=pb.DAY, **span)
    assert [(from_timestamp(p.bucket_start), p.figures.requests) for p in by_day.points] == [
        (edge - timedelta(days=1), 1),
        (edge, 2),
    ]
    by_month = await of_consumer(subject.consumer_id, granularity=pb.MONTH, **span)
    assert [point.figures.requests for point in by_month.points] == [1, 2]
    assert from_timestamp(by_month.points[1].bucket_start) == edge
    assert by_month.total.p50_response_time_ms == 7


async def test_the_period_before_is_as_long_and_counts_nowhere_else(
    subject: Any, new_subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    gone = new_subject(consumer_id=subject.consumer_id)
    today = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    at = [today - timedelta(days=days) for days in (0, 1, 2, 3, 4, 5)]
    await ingest([subject.event(day) for day in at] + [gone.event(at[3])])
    report = await of_consumer(
        subject.consumer_id,
        start=to_timestamp(at[1]),
        end=to_timestamp(at[0] + timedelta(days=1)),
        group_by=pb.KEY,
        with_previous=True,
    )
    assert report.total.requests == 2
    assert report.previous.requests == 3
    assert groups(report) == {str(subject.api_key_id): 2}
    assert report.unique_keys == 1


async def test_keys_and_consumers_are_counted_once(
    subject: Any, new_subject: Any, ingest: Any, of_merchant: Ask
) -> None:
    same_key = new_subject(
        consumer_id=subject.consumer_id, api_key_id=subject.api_key_id, merchant_id=subject.merchant_id
    )
    other = new_subject(merchant_id=subject.merchant_id)
    earlier = new_subject(merchant_id=subject.merchant_id)
    await ingest([subject.event(), same_key.event(), other.event()])
    await ingest([earlier.event(utc_now() - timedelta(days=200))])
    report = await of_merchant(subject.merchant_id)
    assert (report.unique_keys, report.unique_consumers) == (2, 2)
    assert (await of_merchant(subject.merchant_id, status_class="5xx")).unique_keys == 0


async def test_the_top_groups_are_told_and_the_others_are_summed(
    subject: Any, new_subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    many, few, least = (new_subject(consumer_id=subject.consumer_id) for _ in range(3))
    calls = [each.event() for each, n in ((many, 5), (few, 3), (least, 1), (subject, 1)) for _ in range(n)]
    await ingest(calls)
    report = await of_consumer(subject.consumer_id, group_by=pb.SERVICE, top=2)
    assert [(total.group, total.figures.requests) for total in report.groups] == [
        (str(many.service_id), 5),
        (str(few.service_id), 3),
        ("other", 2),
    ]
    assert report.total.requests == 10
    await ingest([subject.event(status_code=500)])
    by_class = await of_consumer(subject.consumer_id, group_by=pb.STATUS_CLASS, top=1)
    assert groups(by_class) == {"2xx": 10, "other": 1}


@pytest.mark.parametrize("granularity", [pb.HOUR, pb.DAY])
async def test_what_is_no_top_group_is_the_consumers_sum_less_those(
    subject: Any, new_subject: Any, ingest: Any, of_consumer: Ask, database: Any, granularity: Any
) -> None:
    consumer_id = subject.consumer_id
    keys = [new_subject(consumer_id=consumer_id) for _ in range(7)]
    noon = utc_now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=3)
    for place, each in enumerate(keys):
        times = [noon + timedelta(hours=7 * number) for number in range(place + 1)]
        await ingest([each.event(at, status_code=500 if place % 2 else 200) for at in times])
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM consumer_sums") == 1
    asked = {"group_by": pb.KEY, "granularity": granularity, "start": to_timestamp(noon - timedelta(days=2))}
    for also in ({}, {"with_previous": True}, {"status_class": "5xx"}):
        whole = await of_consumer(consumer_id, **asked, **also)
        cut = await of_consumer(consumer_id, **asked, **also, top=2)
        shown = {total.group for total in cut.groups}
        assert len(shown) == 3
        assert (cut.total, cut.previous, list(cut.spikes)) == (
            whole.total,
            whole.previous,
            list(whole.spikes),
        )
        expected: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for point in whole.points:
            of_group = expected[point.bucket_start.seconds, point.group if point.group in shown else "other"]
            of_group[0] += point.figures.requests
            of_group[1] += point.figures.errors
            of_group[2] += point.figures.response_bytes
        assert {
            (point.bucket_start.seconds, point.group): [
                point.figures.requests,
                point.figures.errors,
                point.figures.response_bytes,
            ]
            for point in cut.points
        } == expected


async def test_groups_are_ranked_by_what_was_used_within_the_zones_days(
    subject: Any, new_subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    """In Kolkata: by calls around the edges, which hours and minutes move."""
    often = new_subject(consumer_id=subject.consumer_id)
    edge = (utc_now() - timedelta(days=2)).replace(hour=18, minute=30, second=0, microsecond=0)
    before, first = edge - timedelta(minutes=1), edge + timedelta(minutes=1)
    await ingest([often.event(before) for _ in range(5)] + [often.event(first)])
    await ingest([subject.event(first), subject.event(first)])
    report = await of_consumer(
        subject.consumer_id,
        start=to_timestamp(edge),
        end=to_timestamp(edge + timedelta(days=1)),
        time_zone="Asia/Kolkata",
        group_by=pb.KEY,
        top=1,
    )
    assert [(total.group, total.figures.requests) for total in report.groups] == [
        (str(subject.api_key_id), 2),
        ("other", 1),
    ]


async def test_a_spike_is_told(subject: Any, ingest: Any, of_consumer: Ask) -> None:
    today = utc_now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
    days = [today - timedelta(days=ago) for ago in range(10)]
    await ingest(
        [subject.event(day) for day in days for _ in range(10)] + [subject.event(days[1]) for _ in range(70)]
    )
    report = await of_consumer(subject.consumer_id)
    (spike,) = report.spikes
    assert from_timestamp(spike.bucket_start) == days[1].replace(hour=0)
    assert (spike.requests, spike.expected_requests) == (80, 10)


async def test_a_consumer_cuts_by_service_key_project_and_status(
    subject: Any, new_subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    other = new_subject(consumer_id=subject.consumer_id, project_id=uuid7())
    await ingest([subject.event(), other.event(), other.event(status_code=404)])
    consumer_id = subject.consumer_id
    assert groups(await of_consumer(consumer_id)) == {"": 3}
    for group_by, name in (
        (pb.SERVICE, "service_id"),
        (pb.KEY, "api_key_id"),
        (pb.PROJECT, "project_id"),
        (pb.MERCHANT, "merchant_id"),
    ):
        one, two = (str(getattr(each, name) or "") for each in (subject, other))
        assert groups(await of_consumer(consumer_id, group_by=group_by)) == {one: 1, two: 2}
    assert groups(await of_consumer(consumer_id, group_by=pb.CONSUMER)) == {str(consumer_id): 3}
    assert groups(await of_consumer(consumer_id, group_by=pb.STATUS_CLASS)) == {"2xx": 2, "4xx": 1}
    for name, value in (
        ("service_id", other.service_id),
        ("api_key_id", other.api_key_id),
        ("project_id", other.project_id),
    ):
        assert groups(await of_consumer(consumer_id, **{name: str(value)})) == {"": 2}
    errors = await of_consumer(consumer_id, status_class="4xx", group_by=pb.KEY)
    assert groups(errors) == {str(other.api_key_id): 1} and errors.total.errors == 1


async def test_a_merchant_sees_pseudonyms_and_no_identity(
    subject: Any, new_subject: Any, ingest: Any, of_merchant: Ask, pseudonyms: Pseudonyms
) -> None:
    other = new_subject(merchant_id=subject.merchant_id, project_id=uuid7())
    await ingest([subject.event(), other.event(), other.event()])
    merchant_id = subject.merchant_id
    consumer = pseudonyms.of_consumer(merchant_id, other.consumer_id)
    key = pseudonyms.of_key(merchant_id, other.api_key_id)
    reports = {
        group_by: await of_merchant(merchant_id, group_by=group_by)
        for group_by in pb.GroupBy.values()
        if group_by != pb.PROJECT
    }
    assert groups(reports[pb.CONSUMER])[consumer] == 2 == groups(reports[pb.KEY])[key]
    for report in reports.values():
        assert report.total.requests == 3
        for each in (subject, other):
            for hidden in (each.consumer_id, each.api_key_id, each.key_prefix, each.project_id):
                assert hidden is None or str(hidden) not in str(report)
    assert groups(await of_merchant(merchant_id, consumer=consumer)) == {"": 2}
    assert groups(await of_merchant(merchant_id, key=key)) == {"": 2}
    assert groups(await of_merchant(merchant_id, service_id=str(subject.service_id))) == {"": 1}
    await refusal(of_merchant(merchant_id, group_by=pb.PROJECT))


async def test_an_admin_sees_all_and_cuts_by_whom_and_what(
    subject: Any, new_subject: Any, ingest: Any, of_platform: Ask
) -> None:
    other = new_subject(consumer_id=subject.consumer_id)
    third = new_subject(merchant_id=subject.merchant_id)
    await ingest([subject.event(), other.event(), other.event(), third.event(), third.event()])
    assert (await of_platform()).total.requests == 5
    consumer, merchant_id = str(subject.consumer_id), str(subject.merchant_id)
    assert groups(await of_platform(group_by=pb.CONSUMER)) == {consumer: 3, str(third.consumer_id): 2}
    assert groups(await of_platform(group_by=pb.MERCHANT)) == {merchant_id: 3, str(other.merchant_id): 2}
    assert groups(await of_platform(consumer=consumer)) == {"": 3}
    assert groups(await of_platform(merchant_id=merchant_id)) == {"": 3}
    assert groups(await of_platform(consumer=consumer, merchant_id=merchant_id)) == {"": 1}
    assert groups(await of_platform(api_key_id=str(third.api_key_id))) == {"": 2}
    assert groups(await of_platform(merchant_id=merchant_id, service_id=str(other.service_id))) == {}


async def test_nobody_finds_what_is_somebody_elses(
    subject: Any,
    new_subject: Any,
    ingest: Any,
    of_consumer: Ask,
    of_merchant: Ask,
    pseudonyms: Pseudonyms,
) -> None:
    """By each filter that the role has, and with the pseudonyms that another merchant sees."""
    mine, other = subject, new_subject(project_id=uuid7())
    await ingest([mine.event(), other.event()])
    foreign = {
        "service_id": str(other.service_id),
        "api_key_id": str(other.api_key_id),
        "project_id": str(other.project_id),
    }
    for name, value in foreign.items():
        assert await of_consumer(mine.consumer_id, **{name: value}) == await of_consumer(
            mine.consumer_id, **{name: str(uuid7())}
        ), name
    merchants = {
        "service_id": str(other.service_id),
        "consumer": pseudonyms.of_consumer(other.merchant_id, mine.consumer_id),
        "key": pseudonyms.of_key(other.merchant_id, mine.api_key_id),
    }
    for name, value in merchants.items():
        report = await of_merchant(mine.merchant_id, **{name: value})
        assert report.total == pb.UsageFigures() and not report.points and not report.unique_keys, name
    for outsider in (of_consumer(uuid7()), of_consumer(mine.merchant_id), of_merchant(mine.consumer_id)):
        assert (await outsider).total.requests == 0


async def test_a_filter_that_a_role_does_not_have_is_refused(of_consumer: Ask, of_merchant: Ask) -> None:
    for name in ("consumer", "key", "merchant_id"):
        assert "is not a filter here" in await refusal(of_consumer(uuid7(), **{name: str(uuid7())}))
    for name in ("api_key_id", "project_id", "merchant_id"):
        assert "is not a filter here" in await refusal(of_merchant(uuid7(), **{name: str(uuid7())}))


async def test_malformed_filters_are_refused(of_platform: Ask, of_consumer: Ask) -> None:
    for fields in ({"consumer": "everybody"}, {"status_class": "6xx"}, {"status_class": "200"}):
        await refusal(of_platform(**fields))
    await refusal(of_consumer(uuid7(), time_zone="Mars/Phobos"))


async def test_what_only_goes_on_has_bytes_and_is_no_request(
    subject: Any, ingest: Any, of_consumer: Ask
) -> None:
    await ingest([subject.event(is_continuation=True)])
    report = await of_consumer(subject.consumer_id)
    assert (report.total.requests, report.total.request_bytes) == (0, 10)
    assert report.total.p99_response_time_ms == 0 and report.unique_keys == 1


async def test_minutes_that_were_thinned_move_a_day_to_the_full_hour_and_lose_nothing(
    subject: Any, ingest: Any, of_consumer: Ask, database: Database
) -> None:
    midnight = (utc_now() - timedelta(days=3)).replace(hour=18, minute=30, second=0, microsecond=0)
    # The quarter of an hour before a day in Kolkata, and the one after.
    await ingest([subject.event(midnight - timedelta(minutes=15)), subject.event(midnight)])
    ask = {
        "time_zone": "Asia/Kolkata",
        "start": to_timestamp(midnight - timedelta(days=1)),
        "end": to_timestamp(midnight + timedelta(days=1)),
    }
    before = await of_consumer(subject.consumer_id, **ask)
    assert [point.figures.requests for point in before.points] == [1, 1]
    async with database.connection() as connection:
        await connection.execute("TRUNCATE rollups_by_minute")
    after = await of_consumer(subject.consumer_id, **ask)
    assert after.total == before.total
    assert sum(point.figures.requests for point in after.points) == 2


async def test_figures_are_found_by_their_series_alone(
    new_subject: Any, ingest: Any, database: Database
) -> None:
    """However small the tables are, and whatever the planner thinks of a stretch of time."""
    now = utc_now()
    subjects = [new_subject() for _ in range(100)]
    await ingest([subject.event(now - timedelta(hours=ago)) for subject in subjects for ago in range(20)])
    asked = {
        "series_ids": [1, 2, 3],
        "group_nos": [0, 0, 0],
        "group_of_class": [0] * 5,
        "slot_starts": [now],
        "scan_starts": [now - timedelta(days=1)],
        "scan_ends": [now],
        "scan_signs": [1],
        "range_start": now - timedelta(days=1),
        "range_end": now,
        "status_classes": [2],
    }
    async with database.connection() as connection, connection.transaction():
        await connection.execute("ANALYZE")
        store = QuestionStore(connection)
        await store.plan_each_time()
        await store.sum_by_hashing()
        for question in ("used_series", "usage_by_series", "usage_by_slot"):
            for rollup in ("day", "hour"):
                query = QuestionStore.queries._queries[f"{question}_of_{rollup}s"]
                arguments = query.arguments({name: asked[name] for name in query.parameters})
                rows = await connection.fetch(f"EXPLAIN {query.sql}", *arguments)
                plan = "\n".join(row[0] for row in rows)
                assert f"rollups_by_{rollup}_pkey" in plan, plan
                assert "Seq Scan" not in plan and "bucket_start_idx" not in plan, plan
