"""The journal's files: nothing that was written is lost, nothing half-written is taken for an event."""

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from ams_gateway.metering import journal as journals
from ams_gateway.metering.journal import Journal, JournalError, JournalLimits, Position
from ams_gateway.metering.records import pack_record, read_records
from hypothesis import given
from hypothesis import strategies as st


def open_journal(root: Path, **limits: int) -> Journal:
    return Journal(journals.create(root), JournalLimits(**limits))


def drain(journal: Journal) -> list[bytes]:
    """Everything that is still to be acknowledged, acknowledged piece by piece."""
    found: list[bytes] = []
    while True:
        events, position = journal.files.read(100, journal.end)
        if not events:
            return found
        found += events
        journal.acknowledge(position)


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


def test_events_come_back_in_order_across_segments(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes=64)
    events = [f"event-{number}".encode() for number in range(50)]
    for event in events:
        journal.append(event)
    assert len(journal.files.segments()) > 10
    assert drain(journal) == events
    journal.close()


def test_acknowledged_segments_are_deleted_and_an_empty_journal_leaves_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes=64)
    for number in range(50):
        journal.append(f"event-{number}".encode())
    drain(journal)
    assert len(journal.files.segments()) == 1
    assert journal.size_bytes < 64
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_what_isnt_acknowledged_at_the_stop_waits_for_an_adopter(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append(b"one")
    journal.append(b"two")
    events, position = journal.files.read(11, journal.end)
    journal.acknowledge(position)
    journal.close()
    (files,) = journals.adopt(tmp_path)
    assert (events, files.read(1000)[0]) == ([b"one"], [b"two"])
    files.close()


def test_a_living_workers_journal_is_left_alone(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append(b"one")
    assert journals.adopt(tmp_path) == []
    journal.close()


def test_only_one_adopter_gets_a_dead_workers_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = (
        "import os, sys; from pathlib import Path; from ams_gateway.metering import journal as j;"
        "journal = j.Journal(j.create(Path(sys.argv[1])), j.JournalLimits());"
        "journal.append(b'one'); os.kill(os.getpid(), 9)"
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
    journal.append(b"one")
    journal.close()
    (segment,) = tmp_path.glob("*/*.seg")
    with segment.open("ab") as file:
        file.write(pack_record(b"two")[:-1])
    (files,) = journals.adopt(tmp_path)
    events, position = files.read(1000)
    files.acknowledge(position)
    assert (events, files.read(1000)[0]) == ([b"one"], [])
    (alarm,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert vars(alarm)["bytes"] == len(pack_record(b"two")) - 1
    files.close()


def test_a_damaged_acknowledgement_means_sending_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append(b"one")
    journal.append(b"two")
    journal.acknowledge(Position(1, 11))
    (journal.files.directory / "acked").write_bytes(b"\x00" * 20)
    journal.close()
    (files,) = journals.adopt(tmp_path)
    assert files.read(1000)[0] == [b"one", b"two"]
    files.close()


def test_a_full_journal_takes_requests_again_once_kafka_has_caught_up(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes=64, max_bytes=200)
    while journal.is_accepting():
        journal.append(b"x" * 20)
    assert 200 <= journal.size_bytes < 260
    drain(journal)
    assert journal.is_accepting()
    journal.close()


def test_a_failing_disk_stops_requests_and_loses_no_event(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes=64)
    journal.append(b"1" * 50)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32, unlimited[1]))
    try:
        with pytest.raises(JournalError) as caught:
            journal.append(b"2" * 40)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert not journal.is_accepting()
    journal.retry()
    assert journal.is_accepting()
    assert drain(journal) == [b"1" * 50, b"2" * 40]
    journal.close()


def test_what_is_reserved_and_not_yet_written_is_no_event(tmp_path: Path) -> None:
    """A killed worker leaves its segment as it is: events, then zeros."""
    journal = open_journal(tmp_path)
    journal.append(b"")
    journal.append(b"one")
    data = journal.files.path(1).read_bytes()
    assert len(data) > 1_000_000
    assert [event for event, _ in read_records(data)] == [b"", b"one"]
    journal.close()
    assert [path.stat().st_size for path in tmp_path.glob("*/*.seg")] == [8 + 8 + 3]


def test_a_segment_that_cant_be_opened_loses_no_event_and_writes_nowhere_else(tmp_path: Path) -> None:
    """Were the old segment closed first, its descriptor would soon be somebody's connection."""
    journal = open_journal(tmp_path, segment_bytes=64)
    obstacle = journal.files.path(2)
    obstacle.mkdir()
    journal.append(b"x" * 60)
    with (tmp_path / "of somebody else").open("w+b", buffering=0) as file:
        journal.append(b"y" * 60)
        assert file.read() == b""
    obstacle.rmdir()
    journal.append(b"z" * 60)
    assert journal.files.segments() == [1, 2]
    assert drain(journal) == [b"x" * 60, b"y" * 60, b"z" * 60]
    (tmp_path / "of somebody else").unlink()
    journal.close()
    assert list(tmp_path.iterdir()) == []
