"""A full disk: what is on it is published, new calls are refused, what couldn't be written is not billed."""

import contextlib
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from aiohttp import ClientSession
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_gateway.metering import files as journals
from ams_gateway.metering.journal import Journal, JournalError, JournalLimits
from ams_gateway.metering.kept import KeepLimits, KeptSegments
from ams_gateway.metering.publisher import Publisher
from ams_gateway.metering.records import pack_record
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant
from ams_gateway.testing.running import GrantedKey, serve_gateway

LIMITS = JournalLimits(segment_bytes=128 * 1024, max_recent=0)


class Disk(Protocol):
    """One that can be filled up."""

    root: Path

    def fill(self) -> None:
        """No file can grow any more."""

    def notice_deletions(self) -> None:
        """What was deleted makes room."""


class SmallFilesystem:
    def __init__(self, root: Path) -> None:
        self.root = root

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.root / "filler").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def notice_deletions(self) -> None:
        pass


class SizeLimit:
    """Where nothing may be mounted: a limit to the size of this process's files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, self._unlimited[1]))

    def notice_deletions(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._unlimited)


@pytest.fixture(params=["small filesystem", "size limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Of a megabyte. Mounting takes a root that may; elsewhere both are the size limit."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    if request.param == "small filesystem" and _works(mount):
        yield SmallFilesystem(mounted)
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)
        return
    limited = SizeLimit(tmp_path)
    yield limited
    limited.notice_deletions()


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def event(number: int) -> bytes:
    return usage.UsageEvent(consumer_id="c", sequence=number, request_id="x" * 1000).SerializeToString()


def write_until_refused(journal: Journal) -> int:
    """How many events were written."""
    while journal.is_accepting() and journal.appended < 2000:
        try:
            journal.append("c", event(journal.appended + 1))
        except JournalError:
            break
        if journal.appended % 10 == 0:
            journal.keep_room()
    return journal.appended


def drain(journal: Journal) -> list[int]:
    numbers: list[int] = []
    while True:
        groups, count, position = journal.take(50_000)
        numbers += [usage.UsageEvent.FromString(each).sequence for each in groups.get("c", ())]
        journal.acknowledge(position)
        if not count:
            return numbers


def test_a_journal_that_filled_the_disk_before_anything_was_acknowledged_is_drained_and_goes_on(
    disk: Disk,
) -> None:
    journal = Journal(disk.root, LIMITS)
    for _ in range(200):
        journal.append("c", event(journal.appended + 1))
    disk.fill()
    count = write_until_refused(journal)
    assert 200 <= count < 2000
    assert not journal.is_accepting()
    assert drain(journal) == list(range(1, count + 1))
    disk.notice_deletions()
    journal.keep_room()
    assert journal.is_accepting()
    journal.append("c", event(count + 1))
    assert drain(journal) == [count + 1]
    journal.close()


def test_the_only_segment_is_used_again_where_there_is_no_room_for_another(disk: Disk) -> None:
    journal = Journal(disk.root, LIMITS)
    disk.fill()
    for _ in range(3):
        before = journal.appended
        count = write_until_refused(journal)
        assert count - before > 50
        assert drain(journal) == list(range(before + 1, count + 1))
        assert journal.is_accepting()
    journal.close()


def test_what_is_kept_gives_way_to_what_is_to_be_written(tmp_path: Path) -> None:
    """Else a disk too small for a day's events would turn calls away though Kafka has them all."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if not _works(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]):
        pytest.skip("nothing may be mounted here")
    try:
        journal = Journal(mounted, LIMITS, KeptSegments(mounted, KeepLimits(keep_s=3600)))
        for _ in range(3000):
            assert journal.is_accepting()
            journal.append("c", event(journal.appended + 1))
            journal.keep_room()
            journal.acknowledge(journal.take(50_000)[2])
        assert len(list(mounted.glob("kept/*.seg"))) > 2
        journal.close()
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def test_a_full_disk_turns_new_calls_away_while_there_is_room_for_those_under_way(disk: Disk) -> None:
    journal = Journal(disk.root, LIMITS)
    disk.fill()
    count = write_until_refused(journal)
    assert not journal.is_accepting()
    for _ in range(20):
        journal.append("c", event(journal.appended + 1))
    assert drain(journal) == list(range(1, count + 21))
    journal.close()


def test_an_event_that_could_not_be_written_is_never_written_and_leaves_no_gap(disk: Disk) -> None:
    journal = Journal(disk.root, LIMITS)
    disk.fill()
    with pytest.raises(JournalError) as caught:
        while True:
            journal.append("c", event(journal.appended + 1))
    assert isinstance(caught.value.__cause__, OSError)
    assert not journal.is_accepting()
    count = journal.appended
    assert drain(journal) == list(range(1, count + 1))
    journal.append("c", event(journal.appended + 1))
    assert drain(journal) == [count + 1]
    journal.close()


def test_a_position_that_cant_be_saved_is_kept_and_nothing_is_read_twice(tmp_path: Path) -> None:
    """A journal of an older release took no bytes for it beforehand."""
    directory = leave_journal(tmp_path, 30)
    (files,) = journals.adopt(tmp_path)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, unlimited[1]))
    found: list[bytes] = []
    try:
        while events := files.read(5000)[0]:
            found += events
            files.acknowledge(files.read(5000)[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert found == [event(number) for number in range(1, 31)]
    assert (directory / "acked").read_bytes() == b""
    files.remove()


async def test_a_gateway_that_starts_on_a_full_disk_publishes_what_is_there_and_then_takes_calls(
    disk: Disk, kafka_bootstrap: str, topic_prefix: str
) -> None:
    left = leave_journal(disk.root, 300)
    disk.fill()
    journal = Journal(disk.root, LIMITS)
    publisher = Publisher(kafka_bootstrap, journal, disk.root, topic_prefix=topic_prefix)
    assert not journal.is_accepting()
    with pytest.raises(JournalError):
        journal.append("c", event(1))
    assert [path for path in disk.root.iterdir() if path.name.startswith(".new-")] == []
    await publisher.open()

    async def is_drained() -> bool:
        return not left.exists()

    async def accepts() -> bool:
        return journal.is_accepting()

    try:
        await eventually(is_drained, timeout_s=30)
        disk.notice_deletions()
        await eventually(accepts)
        journal.append("c", event(1))
        assert journal.appended == 1
    finally:
        await publisher.close(timeout_s=5)
        journal.close()
    assert not list(disk.root.glob("journal-*"))


async def test_a_gateway_on_a_full_disk_serves_nothing_unmetered_until_there_is_room(
    settings: Settings, http: ClientSession, granted: GrantedKey, merchant: Merchant, tmp_path: Path
) -> None:
    limited = SizeLimit(tmp_path)

    async def call() -> tuple[int, str]:
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            if answer.status == 200:
                return 200, ""
            assert "Retry-After" in answer.headers
            return answer.status, (await answer.json(content_type=None))["code"]

    async def told(path: str) -> tuple[int, str]:
        async with http.get(f"{gateway.operator_url}/{path}") as answer:
            return answer.status, await answer.text()

    async def is_served() -> bool:
        return await call() == (200, "")

    limited.fill()
    try:
        async with serve_gateway(settings) as gateway:
            for _ in range(3):
                assert await call() == (503, "metering_unavailable")
            status, reason = await told("readyz")
            assert status == 503 and "journal" in reason
            assert "\nams_gateway_journal_accepting 0.0\n" in (await told("metrics"))[1]
            assert merchant.requests == []
            limited.notice_deletions()
            await eventually(is_served)
            assert await told("readyz") == (200, "ready\n")
            assert len(merchant.requests) == len(gateway.events()) == 1
    finally:
        limited.notice_deletions()


def leave_journal(root: Path, count: int) -> Path:
    """As a killed worker of an older release leaves it on a full disk."""
    directory = root / "journal-0123456789abcdef0123456789abcdef"
    directory.mkdir()
    (directory / "lock").touch()
    (directory / "acked").touch()
    records = [pack_record(event(number)) for number in range(1, count + 1)]
    (directory / "00000001.seg").write_bytes(b"".join(records))
    return directory
