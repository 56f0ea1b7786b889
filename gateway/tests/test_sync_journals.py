"""Where journals are synced, no answer ends before its event is on the disk itself."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from ams_common.errors import SettingsError
from ams_common.testing.eventually import eventually
from ams_gateway.metering import syncing
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, respond_with
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway


class Disk:
    """One that can be told to take its time, or to fail."""

    def __init__(self) -> None:
        self.syncs = 0
        self.files: set[str] = set()
        self.fails = False
        self._may_go_on = threading.Event()
        self._may_go_on.set()

    def hold(self) -> None:
        self._may_go_on.clear()

    def go_on(self) -> None:
        self._may_go_on.set()

    def sync(self, files: Sequence[Path], directories: Sequence[Path]) -> None:
        self.syncs += 1
        self._may_go_on.wait(30)
        if self.fails:
            raise OSError("input/output error")
        self.files.update(path.name for path in [*files, *directories])
        _sync_files(files, directories)


_sync_files = syncing.sync_files


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(syncing, "sync_files", disk.sync)
    return disk


@pytest.fixture
async def gateway(settings: Settings, disk: Disk) -> AsyncIterator[Running]:
    async with serve_gateway(replace(settings, journal_sync="1")) as running:
        yield running
        disk.go_on()


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_ends_when_its_event_is_on_the_disk(
    gateway: Running,
    http: ClientSession,
    granted: GrantedKey,
    merchant: Merchant,
    disk: Disk,
    is_stream: bool,
) -> None:
    framing = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    merchant.answer = respond_with(
        b"HTTP/1.1 200 OK\r\n" + (framing if is_stream else b"Content-Length: 5\r\n\r\nhello")
    )
    disk.hold()

    async def read() -> bytes:
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            return await answer.read()

    reading = asyncio.create_task(read())

    async def is_syncing() -> bool:
        return disk.syncs > 0

    await eventually(is_syncing)
    assert len(gateway.events()) == 1
    # Whatever it gets meanwhile, it isn't the end.
    assert not (await asyncio.wait([reading], timeout=0.2))[0]
    disk.go_on()
    assert await reading == b"hello"
    assert {"00000001.seg", gateway.directory.name} <= disk.files


async def test_answers_that_wait_share_a_sync(
    gateway: Running, http: ClientSession, granted: GrantedKey, disk: Disk
) -> None:
    async def call() -> int:
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            await answer.read()
            return answer.status

    disk.hold()
    calls = [asyncio.create_task(call()) for _ in range(50)]

    async def all_wait() -> bool:
        return len(gateway.events()) == 50

    await eventually(all_wait)
    disk.go_on()
    assert await asyncio.gather(*calls) == [200] * 50
    assert disk.syncs <= 3


async def test_a_disk_that_fails_ends_answers_unfinished_and_takes_no_calls_until_it_works(
    gateway: Running, http: ClientSession, granted: GrantedKey, disk: Disk
) -> None:
    disk.fails = True
    # An ASGI server says 500 where the other hangs up.
    with contextlib.suppress(ClientError):
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            assert answer.status == 500
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (
            503,
            "metering_unavailable",
        )
    disk.fails = False

    async def accepts() -> bool:
        return gateway.runtime.journal.is_accepting()

    await eventually(accepts)
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        assert answer.status == 200


async def test_a_consumer_that_leaves_while_its_answer_waits_was_answered(
    gateway: Running, granted: GrantedKey, disk: Disk
) -> None:
    disk.hold()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"POST /api/consume/{granted.slug} HTTP/1.1\r\nHost: g\r\nX-API-Key: {granted.key.secret}\r\n"
    writer.write(head.encode() + b"Content-Length: 0\r\n\r\n")

    async def is_recorded() -> bool:
        return len(gateway.events()) == 1

    await eventually(is_recorded)
    writer.close()
    await writer.wait_closed()
    disk.go_on()

    async def is_idle() -> bool:
        return gateway.runtime.gateway.in_flight == 0

    await eventually(is_idle)
    assert [event.status_code for event in gateway.events()] == [200]


def test_syncing_is_off_or_bounded(settings: Settings) -> None:
    assert replace(settings, journal_sync="off").journal_sync_s is None
    assert replace(settings, journal_sync="2.5").journal_sync_s == 0.0025
    for wrong in ("on", "-1", "5000", "nan"):
        with pytest.raises(SettingsError, match="GATEWAY_JOURNAL_SYNC"):
            replace(settings, journal_sync=wrong)
