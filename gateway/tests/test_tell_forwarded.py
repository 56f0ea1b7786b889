"""How many events a journal has had is told in full, whatever is killed, sent twice or let go of in
between."""

import os
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_common.topics import USAGE_FORWARDED
from ams_gateway.metering import files as journals
from ams_gateway.metering.forwarded import ForwardedTotals, Group, SavedTotals, day_text
from ams_gateway.metering.journal import Journal, JournalError, JournalLimits
from ams_gateway.metering.meter import EventIds, Meter, Usage
from ams_gateway.metering.publisher import Publisher
from ams_gateway.metering.teller import count_events
from hypothesis import given
from hypothesis import strategies as st

DAY_NS = 24 * 3600 * 1_000_000_000
TODAY = int(datetime.now(UTC).timestamp()) // (24 * 3600)


@dataclass(frozen=True, eq=False)
class Key:
    consumer_id: str
    key_id: str = "key"
    project_id: str = ""
    key_prefix: str = "ams_live_abcdefgh"
    is_test: bool = False


@dataclass(frozen=True, eq=False)
class Service:
    merchant_id: str
    service_id: str = "service"
    price_version_id: str = "price"
    traces_request_size: bool = True
    traces_response_size: bool = True


KEYS = [Key("c1"), Key("c1", key_id="another", is_test=True), Key("c2")]
SERVICES = [Service("m1"), Service("m1", service_id="another"), Service("m2")]
IDS = EventIds()


def call_at(ns: int) -> Usage:
    used = Usage(IDS)
    used.started_ns = ns
    return used


def record(meter: Meter, day: int = TODAY, who: int = 0, what: int = 0) -> Group:
    meter.record(call_at(day * DAY_NS + 7), KEYS[who], SERVICES[what], 200, usage.ANSWERED)
    return Group(day_text(day), SERVICES[what].merchant_id, KEYS[who].consumer_id)


def abandon(journal: Journal) -> None:
    """As SIGKILL does: only the lock goes."""
    assert journal._files is not None
    os.close(journal._files._lock_fd)


def left_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.seg"))


async def told(bootstrap: str, topic_prefix: str, journal_id: bytes) -> dict[Group, int]:
    """The greatest total of each group that the topic has."""
    consumer = AIOKafkaConsumer(
        topic_prefix + USAGE_FORWARDED, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    totals: dict[Group, int] = {}
    try:
        for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                    total = usage.ForwardedTotal.FromString(record.value)
                    assert record.key == total.consumer_id.encode()
                    if total.journal_id == journal_id:
                        group = Group(total.day, total.merchant_id, total.consumer_id)
                        totals[group] = max(total.events, totals.get(group, 0))
    finally:
        await consumer.stop()
    return totals


@given(st.data())
async def test_a_killed_journals_totals_are_all_that_was_ever_written_to_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("journal")
    journal = Journal(root, JournalLimits(segment_bytes=1000, max_recent=5))
    meter = Meter(journal)
    written: Counter[Group] = Counter()
    days, which = st.integers(TODAY - 1, TODAY), st.integers(0, 2)
    for step in data.draw(st.lists(st.sampled_from(["write", "write", "send", "tell", "room"]), max_size=50)):
        if step == "write":
            written[record(meter, data.draw(days), data.draw(which), data.draw(which))] += 1
        elif step == "room":
            journal.keep_room()
        elif step == "tell":
            journal.forwarded.take_untold()
        else:
            journal.acknowledge(journal.take(500)[2])
    abandon(journal)
    (files,) = journals.adopt(root)
    assert await count_events(files) == written
    files.close()


async def test_a_segment_that_was_to_be_used_again_when_its_worker_was_killed_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its new name, and its old events still."""
    journal = Journal(tmp_path, JournalLimits(segment_bytes=4000))
    meter = Meter(journal)
    groups = Counter(record(meter) for _ in range(5))
    assert journal.directory is not None
    journal.take(10_000)
    with monkeypatch.context() as patch:
        # Killed here: nothing can be emptied with no zeros.
        patch.setattr("ams_gateway.metering.journal._ZEROS", b"")
        with pytest.raises(ValueError, match="zero"):
            journal.acknowledge(journal.end)
    assert left_in(tmp_path) == [f"{journal.directory.name}/00000002.seg"]
    abandon(journal)
    (files,) = journals.adopt(tmp_path)
    assert await count_events(files) == groups
    files.close()


def test_an_event_that_wasnt_written_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, JournalLimits())

    def refuse(consumer_id: str, event: bytes) -> None:
        raise JournalError

    with monkeypatch.context() as patch:
        patch.setattr(journal, "append", refuse)
        with pytest.raises(JournalError):
            record(Meter(journal))
    assert not journal.forwarded.has_untold
    journal.close()


def test_the_parts_of_a_long_call_count_each_on_the_day_they_came(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalLimits())
    meter, call = Meter(journal), call_at((TODAY - 1) * DAY_NS)
    for _ in range(3):
        call.response_bytes += 10
        meter.record_part(call, KEYS[0], SERVICES[0], 200)
    counts = {group.day: events for group, events in journal.forwarded.all().items()}
    assert counts[day_text(TODAY - 1)] == 1
    assert sum(counts.values()) == 3


def test_totals_are_told_once_unless_they_grow_or_were_not_taken(tmp_path: Path) -> None:
    totals = ForwardedTotals()
    event = usage.UsageEvent(consumer_id="c", merchant_id="m").SerializeToString()
    group = Group("1970-01-02", "m", "c")
    totals.count(event, DAY_NS)
    totals.count(event, DAY_NS)
    assert totals.take_untold() == {group: 2}
    assert totals.take_untold() == {}
    totals.put_back([group])
    totals.count(event, DAY_NS)
    assert totals.take_untold() == {group: 3}
    assert not totals.has_untold


def test_days_in_which_nothing_can_be_counted_any_more_take_no_memory() -> None:
    totals = ForwardedTotals()
    for day in (TODAY - 3, TODAY - 2, TODAY - 1, TODAY):
        totals.count(usage.UsageEvent(consumer_id="c").SerializeToString(), day * DAY_NS)
    now = datetime.fromtimestamp(TODAY * 24 * 3600, UTC)
    totals.drop_closed_days(now)
    assert len(totals.all()) == 4  # none of them was told
    totals.take_untold()
    totals.drop_closed_days(now)
    assert [group.day for group in totals.all()] == [day_text(TODAY - 1), day_text(TODAY)]


@given(
    st.integers(0, 2**63 - 1),
    st.dictionaries(st.builds(Group, st.text(), st.text(), st.text()), st.integers(1, 2**63 - 1)),
)
def test_what_is_saved_is_read_back(last_sequence: int, totals: dict[Group, int]) -> None:
    saved = SavedTotals(last_sequence, totals)
    assert SavedTotals.from_bytes(saved.to_bytes()) == saved


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"[1, [2]]", b'[1, {"d": 2}]', b"\x00\x00"])
def test_what_isnt_whole_is_not_taken_for_totals(data: bytes) -> None:
    with pytest.raises(ValueError):
        SavedTotals.from_bytes(data)


async def test_a_stop_tells_what_was_not_told_yet(
    tmp_path: Path, kafka_bootstrap: str, topic_prefix: str
) -> None:
    journal = Journal(tmp_path, JournalLimits())
    publisher = Publisher(kafka_bootstrap, journal, tmp_path, topic_prefix=topic_prefix)
    await publisher.open()

    async def is_up() -> bool:
        return publisher.is_connected

    await eventually(is_up, timeout_s=30)
    meter = Meter(journal)
    groups = Counter(record(meter, who=number % 3, what=number % 2) for number in range(10))
    await publisher.close()
    journal.close()
    assert await told(kafka_bootstrap, topic_prefix, journal.journal_id) == groups
    assert left_in(tmp_path) == []


async def test_a_killed_workers_totals_are_told_by_another_before_its_events_are_let_go_of(
    tmp_path: Path, kafka_bootstrap: str, topic_prefix: str
) -> None:
    dead = Journal(tmp_path, JournalLimits(segment_bytes=1000))
    meter = Meter(dead)
    groups = Counter(record(meter, who=number % 3) for number in range(30))
    # Of the first ones nothing is left but what was saved.
    dead.take(1)
    dead.acknowledge(journals.Position(3, 0))
    groups += Counter(record(meter) for _ in range(5))
    abandon(dead)
    journal = Journal(tmp_path, JournalLimits())
    publisher = Publisher(kafka_bootstrap, journal, tmp_path, topic_prefix=topic_prefix)
    await publisher.open()

    async def is_replayed() -> bool:
        return not [name for name in left_in(tmp_path) if dead.journal_id.hex() in name]

    try:
        await eventually(is_replayed, timeout_s=30)
    finally:
        await publisher.close()
        journal.close()
    assert await told(kafka_bootstrap, topic_prefix, dead.journal_id) == groups


async def test_what_could_not_be_told_at_a_stop_is_told_by_the_next(
    tmp_path: Path, kafka_bootstrap: str, topic_prefix: str
) -> None:
    """Though each of its events is acknowledged."""
    first = Journal(tmp_path, JournalLimits())
    groups = Counter([record(Meter(first))])
    first.acknowledge(first.take(1000)[2])
    first.close()
    journal = Journal(tmp_path, JournalLimits())
    publisher = Publisher(kafka_bootstrap, journal, tmp_path, topic_prefix=topic_prefix)
    await publisher.open()

    async def is_alone() -> bool:
        return len(left_in(tmp_path)) == 1

    try:
        await eventually(is_alone, timeout_s=30)
    finally:
        await publisher.close()
        journal.close()
    assert await told(kafka_bootstrap, topic_prefix, first.journal_id) == groups
