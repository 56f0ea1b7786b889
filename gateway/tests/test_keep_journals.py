"""The journal's files: nothing that was written is lost, nothing half-written is taken for an event."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from ams.usage.v1 import events_pb2 as usage
from ams_gateway.metering import files as journals
from ams_gateway.metering.files import JournalFiles
from ams_gateway.metering.journal import Journal, JournalError, JournalLimits
from ams_gateway.metering.records import pack_record, read_records
from hypothesis import given
from hypothesis import strategies as st


def open_journal(root: Path, **limits: int) -> Journal:
    return Journal(root, JournalLimits(**limits))


def event_of(consumer_id: str, number: int = 0) -> bytes:
    return usage.UsageEvent(consumer_id=consumer_id, sequence=number).SerializeToString()


def write(journal: Journal, *numbers: int, consumer_id: str = "c") -> None:
    for number in numbers:
        journal.append(consumer_id, event_of(consumer_id, number))


def drain(journal: Journal, limit_bytes: int = 100) -> list[int]:
    """The numbers of all that is still to be acknowledged, acknowledged piece by piece."""
    found: list[int] = []
    while True:
        groups, count, position = journal.take(limit_bytes)
        assert count == sum(map(len, groups.values()))
        found += [usage.UsageEvent.FromString(event).sequence for group in groups.values() for event in group]
        journal.acknowledge(position)
        if not count:
            return found


def adopt_one(root: Path) -> JournalFiles:
    (files,) = journals.adopt(root)
    return files


def segments_of(journal: Journal) -> list[int]:
    assert journal.directory is not None
    return sorted(int(path.stem) for path in journal.directory.glob("*.seg"))


@given(st.lists(st.binary(max_size=50), max_size=5), st.binary(max_size=30))
def test_whole_records_are_read_and_a_torn_tail_is_not(events: list[bytes], last: bytes) -> None:
    whole = b"".join(map(pack_record, events))
    record = pack_record(last)
    for cut in range(len(record)):
        read = list(read_records(whole + record[:cut]))
        assert [event for event, _ in read] == events
        assert not read or read[-1][1] == len(whole)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_a_damaged_record_is_not_read(event: bytes, data: st.DataObject) -> None:
    record = bytearray(pack_record(event))
    record[data.draw(st.integers(0, len(record) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert event not in [found for found, _ in read_records(bytes(record))]


@pytest.mark.parametrize("max_recent", [0, 7, 1000])
def test_events_come_back_in_order_across_segments(tmp_path: Path, max_recent: int) -> None:
    journal = open_journal(tmp_path, segment_bytes=64, max_recent=max_recent)
    write(journal, *range(1, 51))
    assert len(segments_of(journal)) > 10
    assert drain(journal) == list(range(1, 51))
    journal.close()


@given(st.data())
def test_whatever_is_taken_lost_and_taken_again_each_event_is_acknowledged_in_its_consumers_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Memory and files hand over to each other at any point, and across segments."""
    root = tmp_path_factory.mktemp("journal")
    journal = open_journal(root, segment_bytes=data.draw(st.sampled_from([40, 200])), max_recent=5)
    acknowledged: defaultdict[str, list[int]] = defaultdict(list)
    written: defaultdict[str, list[int]] = defaultdict(list)

    def turn(is_lost: bool, limit_bytes: int) -> bool:
        groups, count, position = journal.take(limit_bytes)
        if is_lost:
            return True
        for consumer_id, events in groups.items():
            acknowledged[consumer_id] += [usage.UsageEvent.FromString(event).sequence for event in events]
        journal.acknowledge(position)
        return count > 0

    for step in data.draw(
        st.lists(st.sampled_from(["write a", "write b", "send", "lose", "room"]), max_size=60)
    ):
        if step.startswith("write"):
            consumer_id = step[-1]
            write(journal, journal.appended + 1, consumer_id=consumer_id)
            written[consumer_id].append(journal.appended)
        elif step == "room":
            journal.keep_room()
        else:
            turn(step == "lose", data.draw(st.sampled_from([30, 100])))
    while turn(False, 100):
        pass
    assert acknowledged == written
    journal.close()
    assert list(root.iterdir()) == []


def test_acknowledged_segments_are_deleted_and_an_empty_journal_leaves_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes=64)
    write(journal, *range(50))
    drain(journal)
    assert len(segments_of(journal)) == 1
    assert journal.size_bytes < 64
    journal.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("with_spare", [True, False])
def test_a_segment_that_is_done_with_and_holds_much_gives_its_disk_back(
    tmp_path: Path, with_spare: bool
) -> None:
    journal = open_journal(tmp_path, segment_bytes=100)
    write(journal, *range(1, 6))
    if with_spare:
        journal.keep_room()
    assert drain(journal) == [1, 2, 3, 4, 5]
    assert journal.size_bytes == 0
    write(journal, 6)
    assert drain(journal) == [6]
    write(journal, 7)
    journal.close()
    files = adopt_one(tmp_path)
    assert files.read(1000)[0] == [event_of("c", 7)]
    files.close()


def test_what_isnt_acknowledged_at_the_stop_waits_for_an_adopter(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_recent=0)
    write(journal, 1, 2)
    groups, _, position = journal.take(14)
    journal.acknowledge(position)
    journal.close()
    files = adopt_one(tmp_path)
    assert (groups, files.read(1000)[0]) == ({"c": [event_of("c", 1)]}, [event_of("c", 2)])
    files.close()


def test_a_living_workers_journal_is_left_alone(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    write(journal, 1)
    assert journals.adopt(tmp_path) == []
    journal.close()


def test_only_one_adopter_gets_a_dead_workers_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = (
        "import os, sys; from pathlib import Path; from ams_gateway.metering import journal as j;"
        "journal = j.Journal(Path(sys.argv[1]), j.JournalLimits());"
        "journal.append('c', b'one'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    first, second = journals.adopt(tmp_path), journals.adopt(tmp_path)
    assert (len(first), second) == (1, [])
    events, position = first[0].read(1000)
    first[0].acknowledge(position)
    assert (events, first[0].read(1000)[0]) == ([b"one"], [])
    assert "damaged" not in caplog.text  # what was only reserved is no loss
    first[0].remove()
    assert journals.adopt(tmp_path) == []


def test_a_torn_tail_of_a_dead_worker_is_skipped_with_an_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = open_journal(tmp_path)
    write(journal, 1)
    journal.close()
    (segment,) = tmp_path.glob("*/*.seg")
    with segment.open("ab") as file:
        file.write(pack_record(b"two")[:-1])
    files = adopt_one(tmp_path)
    events, position = files.read(1000)
    files.acknowledge(position)
    assert (events, files.read(1000)[0]) == ([event_of("c", 1)], [])
    (alarm,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert vars(alarm)["bytes"] == len(pack_record(b"two")) - 1
    files.close()


def test_a_damaged_acknowledgement_means_sending_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, max_recent=0)
    write(journal, 1, 2)
    journal.acknowledge(journal.take(14)[2])
    assert journal.directory is not None
    (journal.directory / "acked").write_bytes(b"\x00" * 20)
    journal.close()
    files = adopt_one(tmp_path)
    assert files.read(1000)[0] == [event_of("c", 1), event_of("c", 2)]
    files.close()


def test_a_full_journal_takes_requests_again_once_kafka_has_caught_up(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes=64, max_bytes=200)
    while journal.is_accepting():
        write(journal, 1)
    assert 200 <= journal.size_bytes < 260
    drain(journal)
    assert journal.is_accepting()
    journal.close()


def test_what_is_reserved_and_not_yet_written_is_no_event(tmp_path: Path) -> None:
    """A killed worker leaves its segment as it is: events, then zeros."""
    journal = open_journal(tmp_path)
    journal.append("c", b"")
    journal.append("c", b"one")
    (segment,) = tmp_path.glob("*/*.seg")
    data = segment.read_bytes()
    assert len(data) > 1_000_000
    assert [event for event, _ in read_records(data)] == [b"", b"one"]
    journal.close()
    assert [path.stat().st_size for path in tmp_path.glob("*/*.seg")] == [8 + 8 + 3]


def test_the_next_segment_is_there_before_the_present_one_is_full(tmp_path: Path) -> None:
    """Were it made by the event that needs it, a full disk would break answers off that are under way."""
    journal = open_journal(tmp_path, segment_bytes=100)
    write(journal, 1, 2, 3)
    journal.keep_room()
    assert segments_of(journal) == [1]
    write(journal, 4, 5, 6)
    journal.keep_room()
    assert segments_of(journal) == [1, 2]
    journal.close()
    files = adopt_one(tmp_path)
    assert len(files.read(1000)[0]) == 6
    assert files.segments == [1]
    files.close()


def test_an_event_for_which_there_is_no_segment_is_refused_and_written_nowhere_else(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes=20)
    assert journal.directory is not None
    obstacle = journal.directory / "00000002.seg"
    obstacle.mkdir()
    write(journal, 1)
    with (tmp_path / "of somebody else").open("w+b", buffering=0) as file:
        with pytest.raises(JournalError):
            write(journal, 2)
        assert file.read() == b""
    assert not journal.is_accepting()
    obstacle.rmdir()
    journal.keep_room()
    assert journal.is_accepting()
    write(journal, 3)
    assert (drain(journal), journal.appended) == ([1, 3], 2)
    (tmp_path / "of somebody else").unlink()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cant_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        open_journal(tmp_path / "file" / "journal")


def test_a_journal_of_an_older_release_is_read(tmp_path: Path) -> None:
    """Then `acked` took no bytes before the first acknowledgement, and events began with their ids."""
    directory = tmp_path / "journal-0123456789abcdef0123456789abcdef"
    directory.mkdir()
    (directory / "lock").touch()
    (directory / "acked").touch()
    events = [
        usage.UsageEvent(event_id=bytes([n] * 16), consumer_id="c").SerializeToString() for n in range(3)
    ]
    (directory / "00000001.seg").write_bytes(b"".join(map(pack_record, events)) + bytes(5000))
    files = adopt_one(tmp_path)
    found, position = files.read(100_000)
    assert found == events
    files.acknowledge(position)
    assert files.read(100_000)[0] == []
    files.remove()
