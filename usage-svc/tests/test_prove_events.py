"""Days are closed into trees, and each event has its path to a published root."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.policy.v1.policy_pb2 import MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import CLIENT_CLOSED, ForwardedTotal, UsageEvent, UsageEventBatch
from ams_common.client import invoke
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnavailableError,
)
from ams_common.ids import uuid7
from ams_common.pseudonyms import Pseudonyms
from ams_common.subscriptions import Batch, Record
from ams_common.testing.tokens import TestIssuer
from ams_rating.events import read_leaf
from ams_rating.merkle import leaf_hash, levels_of, root_by_path, root_of
from hypothesis import given
from hypothesis import strategies as st
from usage_svc.event_handlers import UsageIntake, keep_forwarded_totals
from usage_svc.file_store import FileStore
from usage_svc.partitions import Partitions
from usage_svc.proofs.closing import close_days, last_closed_day
from usage_svc.proofs.store import ProofStore
from usage_svc.proofs.trees import BLOCK_LEAVES, BLOCK_LEVEL, TreeBuilder, paths_in_block, split
from usage_svc.retention.keeping import Retention
from usage_svc.store import Store

Ask = Callable[..., Awaitable[Any]]
Count = Callable[..., Awaitable[None]]

# A day that is closed, and a moment of it.
NOW = utc_now()
DAY = last_closed_day(NOW) - timedelta(days=1)
NOON = datetime.combine(DAY, datetime.min.time(), UTC) + timedelta(hours=12)


@pytest.fixture
def count(database: Database[Store]) -> Count:
    """Counts events as if each were a record of a topic."""
    offset = 0

    async def count_all(events: Sequence[UsageEvent]) -> None:
        nonlocal offset
        records = []
        for event in events:
            offset += 1
            records.append(Record(offset, b"", UsageEventBatch(events=[event]).SerializeToString()))
        intake = UsageIntake(Partitions(database))
        prepared, rejections = intake.prepare(Batch("a-topic/0", records))
        assert not rejections
        await intake.make_ready(prepared)
        async with database.change_by_system("consume", audited=False) as change:
            await intake.apply(change, prepared)

    return count_all


@pytest.fixture
async def ask(stub: rpc.UsageServiceStub, issuer: TestIssuer) -> Ask:
    """`await ask("ListDayRoots", request)`, as billing-svc unless a token is given."""

    async def asked(method: str, request: Any, token: str | None = None) -> Any:
        return await invoke(
            getattr(stub, method), request, token=token or issuer.service_token("billing-svc")
        )

    return asked


def of(subject: Any, **fields: Any) -> dict[str, Any]:
    """The fields of a request about a subject's day."""
    days = {"first_day": DAY.isoformat(), "last_day": DAY.isoformat()}
    return {"merchant_id": str(subject.merchant_id), **days, **fields}


async def proven(ask: Ask, subject: Any, *, page_size: int = 1000, **fields: Any) -> list[pb.ProvenEvent]:
    """All of a consumer's proven events, from all pages."""
    found: list[pb.ProvenEvent] = []
    token = ""
    while True:
        request = pb.ListProvenEventsRequest(
            **of(subject, **fields),
            consumer_id=str(subject.consumer_id),
            page_size=page_size,
            page_token=token,
        )
        answer = await ask("ListProvenEvents", request)
        found += answer.events
        token = answer.next_page_token
        if not token:
            return found


async def roots(ask: Ask, subject: Any, **fields: Any) -> dict[tuple[str, int], pb.DayRoot]:
    answer = await ask("ListDayRoots", pb.ListDayRootsRequest(**of(subject, **fields)))
    return {(root.day, root.edition): root for root in answer.roots}


def is_proven(event: pb.ProvenEvent, known: dict[tuple[str, int], pb.DayRoot]) -> bool:
    """Whether the event's path leads to the root of its day and edition."""
    root = known[read_leaf(event.leaf).day.isoformat(), event.edition]
    found = root_by_path(leaf_hash(event.leaf), event.index, root.events, list(event.audit_path))
    return found == root.root


@given(st.integers(1, 5 * BLOCK_LEAVES), st.data())
def test_paths_through_blocks_are_those_of_the_whole_tree(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(str(index).encode()) for index in range(size)]
    builder = TreeBuilder()
    for index, leaf in enumerate(leaves):
        builder.add(index % 3, UUID(int=index), leaf)
    assert (root := builder.end()) == root_of(leaves)
    blocks, runs = builder.take()
    assert sorted(index for run in runs for index in run.indexes) == list(range(size))
    upper = levels_of([block.node for block in blocks])
    block = data.draw(st.sampled_from(blocks))
    first = block.number << BLOCK_LEVEL
    indexes = [first + at for at in range(len(split(block.hashes)))]
    for index, path in zip(indexes, paths_in_block(upper, block.hashes, indexes, size), strict=True):
        assert root_by_path(leaves[index], index, size, path) == root


async def test_every_event_of_a_closed_day_has_a_path_to_its_root(
    new_subject: Any, count: Count, ask: Ask, database: Database[Store], pseudonyms: Pseudonyms
) -> None:
    subject = new_subject()
    other = new_subject(merchant_id=subject.merchant_id)
    mine = [subject.event(NOON) for _ in range(700)]
    mine += [
        subject.event(NOON, status_code=500),
        subject.event(NOON, status_code=499, outcome=CLIENT_CLOSED),
        subject.event(NOON, is_test=True),
        subject.event(NOON, is_continuation=True),
    ]
    await count([each for pair in zip(mine, [other.event(NOON) for _ in mine], strict=True) for each in pair])
    assert await close_days(database, pseudonyms, NOW) == 1
    published = await roots(ask, subject)
    assert published[DAY.isoformat(), 1].events == 2 * len(mine)
    found = await proven(ask, subject, page_size=97)
    assert [read_leaf(event.leaf).event_id.bytes for event in found] == sorted(each.event_id for each in mine)
    assert all(is_proven(event, published) for event in found)
    leaf = read_leaf(found[0].leaf)
    assert leaf.consumer == pseudonyms.of_consumer(subject.merchant_id, subject.consumer_id)
    assert leaf.api_key == pseudonyms.of_key(subject.merchant_id, subject.api_key_id)
    assert (leaf.source, leaf.offset) == (found[0].source, found[0].offset)
    assert sorted(event.offset for event in found) == list(range(1, 2 * len(mine), 2))
    assert [read_leaf(event.leaf).is_test for event in found].count(True) == 1


async def test_late_events_are_in_a_further_edition_and_change_none(
    new_subject: Any, count: Count, ask: Ask, database: Database[Store], pseudonyms: Pseudonyms
) -> None:
    subject = new_subject()
    late = subject.event(NOON)
    await count([subject.event(NOON) for _ in range(3)])
    await close_days(database, pseudonyms, NOW)
    before = await roots(ask, subject)
    await count([late, new_subject(merchant_id=subject.merchant_id).event(NOON)])
    assert sorted(event.edition for event in await proven(ask, subject)) == [0, 1, 1, 1]
    assert await close_days(database, pseudonyms, NOW) == 1
    after = await roots(ask, subject)
    assert {key: root.events for key, root in after.items()} == {
        (DAY.isoformat(), 1): 3,
        (DAY.isoformat(), 2): 2,
    }
    assert before.items() <= after.items()
    found = await proven(ask, subject, page_size=1)
    assert sorted(event.edition for event in found) == [1, 1, 1, 2]
    assert all(is_proven(event, after) for event in found)
    assert await close_days(database, pseudonyms, NOW) == 0


async def test_a_day_is_open_until_its_grace_time_is_over(
    new_subject: Any, count: Count, ask: Ask, database: Database[Store], pseudonyms: Pseudonyms
) -> None:
    subject = new_subject()
    today = datetime.combine(NOW.date(), datetime.min.time(), UTC)
    await count([subject.event(today), subject.event(today)])
    assert await close_days(database, pseudonyms, today + timedelta(hours=29, minutes=59)) == 0
    day: dict[str, Any] = {"first_day": today.date().isoformat(), "last_day": today.date().isoformat()}
    assert [event.edition for event in await proven(ask, subject, page_size=1, **day)] == [0, 0]
    assert await close_days(database, pseudonyms, today + timedelta(hours=30)) == 1
    assert [event.edition for event in await proven(ask, subject, **day)] == [1, 1]


async def test_a_changed_event_loses_its_own_path_and_no_other(
    new_subject: Any, count: Count, ask: Ask, database: Database[Store], pseudonyms: Pseudonyms
) -> None:
    subject = new_subject()
    await count([subject.event(NOON) for _ in range(5)])
    await close_days(database, pseudonyms, NOW)
    async with database.connection() as connection:
        await connection.execute("UPDATE usage_events SET response_bytes = 1 WHERE source_offset = 3")
    published = await roots(ask, subject)
    found = await proven(ask, subject)
    assert {event.offset for event in found if is_proven(event, published)} == {1, 2, 4, 5}
    assert len(found) == 5


@pytest.fixture
def retention(database: Database[Store], archive: FileStore) -> Retention:
    """Keeps raw events of today alone."""
    return Retention(
        database=database,
        files=archive,
        keep_events_days=lambda: 0,
        keep_minutes_days=30,
        keep_trees_days=1100,
    )


async def test_archived_events_are_proven_as_they_were_before(
    new_subject: Any,
    count: Count,
    ask: Ask,
    database: Database[Store],
    pseudonyms: Pseudonyms,
    retention: Retention,
) -> None:
    subject, young = new_subject(), utc_now()
    key = new_subject(merchant_id=subject.merchant_id, consumer_id=subject.consumer_id)
    other = new_subject(merchant_id=subject.merchant_id)
    await count(
        [subject.event(NOON + timedelta(microseconds=at), request_bytes=at) for at in range(300)]
        + [key.event(NOON, status_code=404), subject.event(NOON, status_code=499, outcome=CLIENT_CLOSED)]
        + [subject.event(NOON, is_test=True), subject.event(NOON, is_continuation=True)]
        + [other.event(NOON) for _ in range(50)]
    )
    await close_days(database, pseudonyms, NOW)
    await count([subject.event(NOON, status_code=503), subject.event(young)])
    await close_days(database, pseudonyms, NOW)
    days: dict[str, Any] = {"last_day": young.date().isoformat()}
    before = await proven(ask, subject, page_size=97, **days)
    assert len(before) == 306
    await retention.run_once()
    async with database.read() as store:
        assert not await ProofStore(store.connection).has_events(DAY)
    assert await proven(ask, subject, page_size=97, **days) == before
    assert await proven(ask, subject, service_id=str(key.service_id)) == [
        each for each in before if read_leaf(each.leaf).service_id == key.service_id
    ]


async def test_events_that_are_neither_in_the_database_nor_in_the_archive_are_missed(
    subject: Any,
    count: Count,
    ask: Ask,
    database: Database[Store],
    pseudonyms: Pseudonyms,
    retention: Retention,
    archive: FileStore,
) -> None:
    await count([subject.event(NOON)])
    await close_days(database, pseudonyms, NOW)
    await retention.run_once()
    archive.delete(f"usage_events/day={DAY}/part-000.parquet")
    with pytest.raises(UnavailableError) as caught:
        await proven(ask, subject)
    assert caught.value.code == "archive_unavailable"


async def test_trees_of_long_ago_go_and_their_roots_stay(
    new_subject: Any,
    count: Count,
    ask: Ask,
    database: Database[Store],
    pseudonyms: Pseudonyms,
    retention: Retention,
) -> None:
    subject, before = new_subject(), NOON - timedelta(days=1)
    earlier: dict[str, Any] = {"first_day": before.date().isoformat()}
    await count([subject.event(NOON), subject.event(before), new_subject().event(before)])
    await close_days(database, pseudonyms, NOW)
    published = await roots(ask, subject, **earlier)
    retention.keep_trees_days = (NOW.date() - DAY).days
    await retention.run_once()
    assert await roots(ask, subject, **earlier) == published
    assert len(published) == 2
    (kept,) = await proven(ask, subject)
    assert is_proven(kept, published)
    for day in (before.date(), DAY):
        with pytest.raises(FailedPreconditionError) as caught:
            await proven(ask, subject, first_day=earlier["first_day"], last_day=day.isoformat())
        assert caught.value.code == "proof_expired"
    assert await close_days(database, pseudonyms, NOW) == 0


async def test_two_that_close_a_day_at_once_publish_one_root(
    subject: Any, count: Count, database: Database[Store], pseudonyms: Pseudonyms
) -> None:
    await count([subject.event(NOON) for _ in range(300)])
    async with database.change_by_system("test", audited=False) as change:
        assert await ProofStore(change.connection).lock_day(merchant_id=subject.merchant_id, day=DAY)
        assert await close_days(database, pseudonyms, NOW) == 0
    assert await close_days(database, pseudonyms, NOW) == 1
    assert await close_days(database, pseudonyms, NOW) == 0


async def test_a_published_root_can_not_be_changed(
    subject: Any, count: Count, database: Database[Store], pseudonyms: Pseudonyms
) -> None:
    await count([subject.event(NOON)])
    await close_days(database, pseudonyms, NOW)
    async with database.connection() as connection:
        for statement in ("UPDATE day_roots SET events = 2", "DELETE FROM day_roots", "TRUNCATE day_roots"):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await connection.execute(statement)


async def test_totals_tell_what_was_forwarded_and_what_arrived(
    new_subject: Any, count: Count, ask: Ask, database: Database[Store]
) -> None:
    subject = new_subject()
    other = new_subject(merchant_id=subject.merchant_id)
    await count(
        [subject.event(NOON), subject.event(NOON, is_test=True), subject.event(NOON, is_continuation=True)]
    )
    await count([other.event(NOON)])
    forwarded = [
        ForwardedTotal(
            journal_id=uuid7().bytes,
            day=DAY.isoformat(),
            merchant_id=str(each.merchant_id),
            consumer_id=str(each.consumer_id),
            events=events,
        )
        for each, events in ((subject, 3), (subject, 1), (other, 1))
    ]
    async with database.change_by_system("consume", audited=False) as change:
        await keep_forwarded_totals(change, forwarded)
    answer = await ask(
        "ListDayTotals", pb.ListDayTotalsRequest(**of(subject, consumer_id=str(subject.consumer_id)))
    )
    (total,) = answer.totals
    assert (total.forwarded_events, total.recorded_events, total.test_events) == (4, 3, 1)
    assert (total.requests, total.request_bytes, total.response_bytes) == (1, 20, 200)
    (total,) = (await ask("ListDayTotals", pb.ListDayTotalsRequest(**of(subject)))).totals
    assert (total.forwarded_events, total.recorded_events, total.requests) == (5, 4, 2)
    assert (total.test_request_bytes, total.test_response_bytes) == (10, 100)
    assert (total.unrecorded_events, total.untold_events, total.consumer_id) == (1, 0, "")


async def test_totals_of_consumers_come_in_pages_and_hide_nothing_of_one_behind_another(
    new_subject: Any, count: Count, ask: Ask, database: Database[Store]
) -> None:
    first = new_subject()
    second, third = (new_subject(merchant_id=first.merchant_id) for _ in range(2))
    elsewhere, unasked = new_subject(), new_subject()
    for each, events in ((first, 1), (second, 3), (third, 2), (elsewhere, 1), (unasked, 1)):
        await count([each.event(NOON) for _ in range(events)])
    forwarded = [
        ForwardedTotal(
            journal_id=uuid7().bytes,
            day=DAY.isoformat(),
            merchant_id=str(each.merchant_id),
            consumer_id=str(each.consumer_id),
            events=events,
        )
        for each, events in ((first, 3), (second, 1), (third, 2))
    ]
    async with database.change_by_system("consume", audited=False) as change:
        await keep_forwarded_totals(change, forwarded)
    (total,) = (await ask("ListDayTotals", pb.ListDayTotalsRequest(**of(first)))).totals
    assert (total.forwarded_events, total.recorded_events) == (6, 6)
    assert (total.unrecorded_events, total.untold_events) == (2, 2)
    request = pb.ListConsumerDayTotalsRequest(
        day=DAY.isoformat(),
        merchant_ids=[str(first.merchant_id), str(elsewhere.merchant_id)],
        page_size=3,
    )
    page = await ask("ListConsumerDayTotals", request)
    request.page_token = page.next_page_token
    last = await ask("ListConsumerDayTotals", request)
    assert (len(page.totals), len(last.totals), last.next_page_token) == (3, 1, "")
    found = {total.consumer_id: total for total in (*page.totals, *last.totals)}
    assert {
        consumer_id: (
            total.merchant_id,
            total.recorded_events,
            total.unrecorded_events,
            total.untold_events,
            total.request_bytes,
            total.response_bytes,
        )
        for consumer_id, total in found.items()
    } == {
        str(each.consumer_id): (str(each.merchant_id), *figures)
        for each, figures in (
            (first, (1, 2, 0, 10, 100)),
            (second, (3, 0, 2, 30, 300)),
            (third, (2, 0, 0, 20, 200)),
            (elsewhere, (1, 0, 1, 10, 100)),
        )
    }
    with pytest.raises(InvalidArgumentError):
        await ask("ListConsumerDayTotals", pb.ListConsumerDayTotalsRequest(day=DAY.isoformat()))
    with pytest.raises(InvalidArgumentError):
        request.page_token = "of another list"
        await ask("ListConsumerDayTotals", request)


async def test_a_digest_is_of_what_billing_is_told_of_each_consumer(
    new_subject: Any, count: Count, ask: Ask
) -> None:
    first = new_subject()
    second = new_subject(merchant_id=first.merchant_id)

    async def digest() -> str:
        (total,) = (await ask("ListDayTotals", pb.ListDayTotalsRequest(**of(first)))).totals
        found: str = total.digest
        return found

    await count([first.event(NOON, is_test=True)])
    assert await digest() == "0"
    await count([first.event(NOON), first.event(NOON), second.event(NOON)])
    one = await digest()
    await count([first.event(NOON, is_test=True)])
    assert await digest() == one != "0"
    await count([second.event(NOON, is_continuation=True, response_bytes=1)])
    assert await digest() != one


async def test_only_billing_lists_proven_events_and_anybody_roots(
    subject: Any, ask: Ask, issuer: TestIssuer
) -> None:
    token = issuer.user_token(subject.merchant_id, MERCHANT)
    request = pb.ListProvenEventsRequest(**of(subject), consumer_id=str(subject.consumer_id))
    with pytest.raises(PermissionDeniedError):
        await ask("ListProvenEvents", request, token)
    assert not (await ask("ListDayRoots", pb.ListDayRootsRequest(**of(subject)), token)).roots
    with pytest.raises(InvalidArgumentError, match="page token"):
        request.page_token = "of another list"
        await ask("ListProvenEvents", request)
    with pytest.raises(InvalidArgumentError, match="firstDay"):
        before = (date.fromisoformat(request.first_day) - timedelta(days=1)).isoformat()
        await ask("ListDayRoots", pb.ListDayRootsRequest(**of(subject, last_day=before)))


async def test_every_query_is_one_that_the_server_takes(database: Database[Store]) -> None:
    names = ProofStore.queries.names()
    assert ProofStore.declared() == set(names)
    async with database.connection() as connection:
        for name in names:
            await ProofStore.queries.prepare(connection, name)
