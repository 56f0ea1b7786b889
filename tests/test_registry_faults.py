"""The registry with clients that are slow, greedy or gone, and with processes that are killed midway."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from ams_common.ports import is_listening
from ams_common.testing.eventually import eventually
from support.docker_images import MANIFEST, digest_of
from support.image_trade import ImageTrade
from support.registry_client import Answer, Client, name_of, push, query, upload
from support.running_system import RunningSystem


@pytest.fixture
def strict(system: RunningSystem) -> Iterator[RunningSystem]:
    """registry-svc that waits a second for bytes, with place for one layer of each and four requests."""
    limits = {"REGISTRY_IDLE_TIMEOUT_S": "1", "REGISTRY_MAX_STREAMS": "1", "REGISTRY_MAX_REQUESTS": "4"}
    system.restart("registry-svc", **limits)
    yield system
    system.restart("registry-svc")


class Halting:
    """A body that stops after its first part, until it is let go on."""

    def __init__(self, first: bytes) -> None:
        self._first = first
        self.on = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        await self.on.wait()


def error_of(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["errors"][0]["code"]


async def begin(client: Client, name: str) -> str:
    return str((await client.ask("POST", f"/v2/{name}/blobs/uploads/")).headers["Location"])


@asynccontextmanager
async def half_sent(
    system: RunningSystem, client: Client, location: str, content: bytes
) -> AsyncIterator["asyncio.Task[Answer]"]:
    """Within the block the provider has `content` of a PATCH that isn't over."""
    before, body = provider_bytes(system), Halting(content)
    sending = asyncio.create_task(client.ask("PATCH", location, data=body))
    stored = before + len(content) // 2  # the rest may be in buffers

    async def has_arrived() -> bool:
        return provider_bytes(system) >= stored

    assert await eventually(has_arrived)
    yield sending
    body.on.set()
    await asyncio.gather(sending, return_exceptions=True)


def provider_bytes(system: RunningSystem) -> int:
    """What distribution has of all uploads under way."""
    uploads = (system.run_directory / "distribution" / "data").rglob("_uploads/*/data")
    return sum(upload.stat().st_size for upload in uploads)


@pytest.mark.parametrize("killed", ["registry-svc", "distribution"])
async def test_an_upload_that_was_killed_midway_is_begun_anew_and_not_looped_on(
    system: RunningSystem, pusher: Client, trade: ImageTrade, killed: str
) -> None:
    name, content = name_of(trade), secrets.token_bytes(3_000_000)
    location = await begin(pusher, name)
    assert (await pusher.ask("PATCH", location, data=content[:1_000_000])).status == 202
    async with half_sent(system, pusher, location, content[1_000_000:2_000_000]):
        system.kill(killed)
        system.start(killed)
    # What is there now no client can know but by asking; it may go on only where the answer is the truth.
    status = await pusher.ask("GET", location)
    if status.status == 204:
        size = int(status.headers["Range"].partition("-")[2]) + 1
        assert (await pusher.ask("PATCH", location, data=content[size:])).status == 202
        assert (await pusher.ask("PUT", f"{location}?digest={digest_of(content)}")).status == 201
    else:
        assert error_of(status) == (404, "BLOB_UPLOAD_UNKNOWN")
        assert (await pusher.ask("PATCH", location, data=content[1_000_000:])).status == 404
        assert await upload(pusher, name, content) == digest_of(content)
    assert await query(system, "SELECT FROM uploads WHERE name = $1", name) == []


async def test_a_registry_that_is_told_to_stop_ends_what_it_has_begun(
    system: RunningSystem, pusher: Client, trade: ImageTrade
) -> None:
    location = await begin(pusher, name_of(trade))
    async with half_sent(system, pusher, location, b"first" * 200_000) as sending:
        os.kill(system.process_id("registry-svc"), signal.SIGTERM)

        async def is_closed() -> bool:
            return not is_listening(system.port("registry-svc"))

        assert await eventually(is_closed)
        await asyncio.sleep(1)  # the layer takes its time
    assert sending.result().status == 202
    system.restart("registry-svc")
    assert (await pusher.ask("GET", location)).headers["Range"] == "0-999999"


async def test_two_requests_never_add_to_one_upload_at_once(
    system: RunningSystem, pusher: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    location = await begin(pusher, name)
    async with half_sent(system, pusher, location, b"first" * 200_000):
        assert (await pusher.ask("GET", location)).status == 204
        assert error_of(await pusher.ask("PATCH", location, data=b"second")) == (416, "RANGE_INVALID")
    done = await pusher.ask("PUT", f"{location}?digest={digest_of(b'first' * 200_000)}")
    assert done.status == 201, done.text


async def test_a_silent_client_is_told_so_and_goes_on_later(
    strict: RunningSystem, pusher: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    location = await begin(pusher, name)
    silent = await pusher.ask("PATCH", location, data=Halting(b"first, "))
    assert error_of(silent) == (408, "BLOB_UPLOAD_INVALID")
    assert (await pusher.ask("GET", location)).headers["Range"] == "0-6"
    done = await pusher.ask("PUT", f"{location}?digest={digest_of(b'first, second')}", data=b"second")
    assert done.status == 201, done.text
    headers = {"Content-Type": MANIFEST}
    slow = await pusher.ask("PUT", f"/v2/{name}/manifests/1.0.0", data=Halting(b"{"), headers=headers)
    assert slow.status == 408


async def test_a_client_that_takes_nothing_holds_nothing_and_one_layer_at_a_time_means_one(
    strict: RunningSystem, pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name, content = name_of(trade), secrets.token_bytes(2**20) * 60
    await push(pusher, name, "1.0.0", content)
    path, small = f"/v2/{name}/blobs/{digest_of(content)}", f"/v2/{name}/blobs/{digest_of(b'{}')}"

    async def is_let_in() -> bool:
        answer = await puller.ask("GET", small)
        assert answer.status == 200 or error_of(answer) == (429, "TOOMANYREQUESTS")
        return answer.status == 200

    async with puller.http.get(
        f"{puller.url}{path}", headers={"Authorization": f"Bearer {puller.token}"}
    ) as idle:
        assert idle.status == 200
        assert not await is_let_in()
        assert (await pusher.ask("GET", small)).status == 200  # others are not in its way
        assert await eventually(is_let_in, timeout_s=20)
        with pytest.raises(aiohttp.ClientPayloadError):
            await idle.read()


async def test_more_requests_than_there_is_place_for_are_told_to_come_back(
    strict: RunningSystem, anybody: Client, pusher: Client, trade: ImageTrade
) -> None:
    manifests = [f"/v2/{name_of(trade)}/manifests/{number}.0.0" for number in range(4)]
    bodies = [Halting(b"{") for _ in manifests]
    headers = {"Content-Type": MANIFEST}
    held = [
        asyncio.create_task(pusher.ask("PUT", path, data=body, headers=headers))
        for path, body in zip(manifests, bodies, strict=True)
    ]

    async def is_refused() -> bool:
        answer = await anybody.ask("GET", "/v2/")
        return answer.status == 503 and error_of(answer)[1] == "TOOMANYREQUESTS"

    assert await eventually(is_refused)
    assert [answer.status for answer in await asyncio.gather(*held)] == [408] * len(held)
    assert (await anybody.ask("GET", "/v2/")).status == 401
