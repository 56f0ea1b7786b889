"""A consumer's usage as a whole is kept too, once there is enough of it to be worth it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import UsageEvent, UsageEventBatch
from ams_common.clock import to_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.subscriptions import Batch, Record
from ams_common.testing.tokens import TestIssuer
from usage_svc.event_handlers import PreparedEvents, UsageIntake
from usage_svc.partitions import Partitions
from usage_svc.store import Store

SOURCES = [f"11111111-1111-4111-8111-111111111111/{number}" for number in range(2)]


async def count_sums(database: Database[Store]) -> int:
    async with database.connection() as connection:
        found: int = await connection.fetchval("SELECT count(*) FROM consumer_sums")
        return found


async def test_a_sum_begins_with_the_fourth_series_and_has_what_was_before(
    new_subject: Any, ingest: Any, figures: Any, database: Database[Store]
) -> None:
    consumer_id, now = uuid7(), utc_now()
    subjects = [new_subject(consumer_id=consumer_id) for _ in range(4)]
    for subject in subjects[:3]:
        await ingest([subject.event(now - timedelta(days=days)) for days in (0, 1, 40)])
    assert await count_sums(database) == 0
    await ingest([new_subject().event(), subjects[3].event(now - timedelta(days=2))])
    await ingest([subject.event(now - timedelta(days=40), status_code=503) for subject in subjects])
    async with database.connection() as connection:
        for level, rows in (("hour", 5), ("day", 5), ("month", 3)):
            sums = await connection.fetch(
                f"SELECT requests FROM rollups_by_{level} JOIN consumer_sums USING (series_id)"
            )
            assert sum(row["requests"] for row in sums) == 14
            assert len(sums) >= rows - 1  # two of the days may lie in one month
    assert await count_sums(database) == 1
    assert await figures.broken_invariants() == {}


def prepared(intake: UsageIntake, source: str, events: list[UsageEvent]) -> PreparedEvents:
    value = UsageEventBatch(events=events).SerializeToString()
    found, rejections = intake.prepare(Batch(source, [Record(0, None, value)]))
    assert not rejections
    return found


async def test_who_counts_while_a_sum_begins_is_waited_for(
    new_subject: Any, ingest: Any, figures: Any, database: Database[Store]
) -> None:
    consumer_id = uuid7()
    subjects = [new_subject(consumer_id=consumer_id) for _ in range(4)]
    await ingest([subject.event() for subject in subjects[:3]])
    intake = UsageIntake(Partitions(database))
    # Of another partition: the topic had fewer of them once, say.
    others, own = (
        prepared(intake, source, [subject.event()])
        for source, subject in zip(SOURCES, (subjects[0], subjects[3]), strict=True)
    )

    async def count() -> None:
        async with database.change_by_system("test", audited=False) as change:
            await intake.apply(change, own)

    async with database.change_by_system("test", audited=False) as change:
        await intake.apply(change, others)
        counting = asyncio.create_task(count())
        while not await change.connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not counting.done()
            await asyncio.sleep(0.01)
    await counting
    assert await count_sums(database) == 1
    assert await figures.broken_invariants() == {}


Ask = Callable[..., Awaitable[pb.UsageReport]]


async def test_answers_are_the_same_with_and_without_a_sum(
    new_subject: Any,
    ingest: Any,
    database: Database[Store],
    stub: rpc.UsageServiceStub,
    issuer: TestIssuer,
) -> None:
    consumer_id, now = uuid7(), utc_now()
    subjects = [new_subject(consumer_id=consumer_id) for _ in range(5)]
    await ingest(
        [
            subject.event(
                now - timedelta(hours=7 * number + 311 * at),
                status_code=(200, 404, 503)[(number + at) % 3],
                response_time_ms=13 * number + at,
            )
            for number, subject in enumerate([*subjects, new_subject()])
            for at in range(25)
        ]
    )

    def asked(role: Any, method: Any, fields: dict[str, Any]) -> Awaitable[pb.UsageReport]:
        user_id = consumer_id if role == CONSUMER else uuid7()
        metadata = (("authorization", f"Bearer {issuer.user_token(user_id, role)}"),)
        start, end = to_timestamp(now - timedelta(days=330)), to_timestamp(now)
        request = pb.GetUsageRequest(start=start, end=end, **fields)
        answer: Awaitable[pb.UsageReport] = method(request, metadata=metadata)
        return answer

    questions: list[tuple[Any, Any, dict[str, Any]]] = [
        (CONSUMER, stub.GetConsumerUsage, fields | {"granularity": granularity, "time_zone": zone})
        for granularity in (pb.DAY, pb.MONTH)
        for zone in ("", "Europe/Zurich", "Asia/Kolkata", "Pacific/Auckland")
        for fields in (
            {},
            {"group_by": pb.STATUS_CLASS, "with_previous": True},
            {"status_class": "4xx"},
            {"api_key_id": str(subjects[0].api_key_id)},
            {"service_id": str(subjects[1].service_id), "group_by": pb.KEY},
            {"group_by": pb.KEY, "top": 2},
        )
    ]
    questions += [
        (ADMIN, stub.GetPlatformUsage, fields)
        for fields in (
            {},
            {"consumer": str(consumer_id)},
            {"group_by": pb.CONSUMER, "top": 1},
            {"merchant_id": str(subjects[2].merchant_id)},
        )
    ]
    with_sum = [await asked(*question) for question in questions]
    assert await count_sums(database) == 1 and all(report.total.requests for report in with_sum)
    async with database.change_by_system("test", audited=False) as change:
        await change.connection.execute("DELETE FROM consumer_sums")
    for question, report in zip(questions, with_sum, strict=True):
        assert await asked(*question) == report, question[2]
