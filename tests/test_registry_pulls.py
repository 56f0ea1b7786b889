"""What a pull is billed as, and who gets which layers when."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from support.docker_images import Part, digest_of
from support.image_trade import ImageTrade
from support.registry_client import (
    Client,
    manifest,
    name_of,
    pulled_tags,
    push,
    push_index,
    put_manifest,
    query,
    upload,
)
from support.running_system import RunningSystem

NOTHING = Part(digest_of(b"{}"), 2)


async def platform(client: Client, name: str, content: bytes) -> bytes:
    """A manifest of one layer, pushed by its digest."""
    await upload(client, name, b"{}")
    body = manifest(NOTHING, Part(await upload(client, name, content), len(content)))
    await put_manifest(client, name, digest_of(body), body)
    return body


async def test_a_platform_that_two_versions_share_belongs_to_the_one_that_is_pulled(
    system: RunningSystem, anybody: Client, pusher: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    shared, old = await platform(pusher, name, b"arm"), await platform(pusher, name, b"x86")
    first = await push_index(pusher, name, "1.0.0", shared, old)
    await push_index(pusher, name, "1.0.1", shared)
    for references in (["1.0.0", digest_of(shared)], [first, digest_of(shared), digest_of(old)]):
        one_pull = await anybody.sign_in(trade.secret, f"repository:{name}:pull")
        for reference in references:
            assert (await one_pull.ask("GET", f"/v2/{name}/manifests/{reference}")).status == 200
    assert await pulled_tags(system, name) == ["1.0.0", "1.0.0"]
    looking = await anybody.sign_in(trade.secret, f"repository:{name}:pull")
    for method, reference in (
        ("GET", "1.0.0"),
        ("HEAD", "1.0.1"),  # to look whether there's something newer is no pull
        ("GET", digest_of(shared)),
    ):
        assert (await looking.ask(method, f"/v2/{name}/manifests/{reference}")).status == 200
    assert await pulled_tags(system, name) == ["1.0.0"] * 3
    assert (await looking.ask("GET", f"/v2/{name}/manifests/1.0.1")).status == 200
    assert (await looking.ask("GET", f"/v2/{name}/manifests/{digest_of(shared)}")).status == 200
    assert await pulled_tags(system, name) == ["1.0.0"] * 3 + ["1.0.1"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_promoted_digest_is_pulled_as_the_version_that_was_asked_for(
    system: RunningSystem, pusher: Client, puller: Client, trade: ImageTrade, method: str
) -> None:
    name = name_of(trade)
    digest = await push(pusher, name, "1.0.0-rc.1")
    assert await push(pusher, name, "1.0.0") == digest
    assert (await puller.ask(method, f"/v2/{name}/manifests/1.0.0-rc.1")).status == 200
    for _ in range(2):
        assert (await puller.ask("GET", f"/v2/{name}/manifests/{digest}")).status == 200
    assert await pulled_tags(system, name) == ["1.0.0-rc.1"]


async def test_a_consumer_gets_the_layers_of_active_versions_only(
    pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    await push(pusher, name, "1.0.0", b"old")
    await push(pusher, name, "1.1.0", b"new")
    await push_index(pusher, name, "2.0.0", await platform(pusher, name, b"arm"))
    orphan = await upload(pusher, name, b"orphan")

    async def statuses(client: Client) -> list[int]:
        digests = [digest_of(b"old"), digest_of(b"new"), digest_of(b"arm"), digest_of(b"{}"), orphan]
        asked = [(method, digest) for digest in digests for method in ("GET", "HEAD")]
        return [(await client.ask(method, f"/v2/{name}/blobs/{digest}")).status for method, digest in asked]

    assert await statuses(puller) == [200] * 8 + [404] * 2
    assert await statuses(pusher) == [200] * 10
    for image in (await trade.publishing.merchant.get("/merchant/images"))["images"]:
        if image["tag"] in ("1.0.0", "2.0.0"):
            await trade.publishing.merchant.post(f"/images/{image['imageId']}:deprecate")
    assert await statuses(puller) == [404] * 2 + [200] * 2 + [404] * 2 + [200] * 2 + [404] * 2


async def test_layers_of_images_from_before_layers_were_written_down_are_found(
    system: RunningSystem, pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    await push_index(pusher, name, "1.0.0", await platform(pusher, name, b"arm"))
    orphan = await upload(pusher, name, b"orphan")
    await query(system, "DELETE FROM manifests WHERE name = $1", name)
    assert (await puller.ask("GET", f"/v2/{name}/blobs/{orphan}")).status == 404
    assert (await puller.ask("GET", f"/v2/{name}/blobs/{digest_of(b'arm')}")).body == b"arm"
    assert len(await query(system, "SELECT FROM manifests WHERE name = $1", name)) == 2


async def reaches(ask: Callable[[], Awaitable[int]], status: int) -> None:
    """Within the seconds for which a yes holds."""

    async def answers() -> bool:
        return await ask() == status

    assert await eventually(answers, timeout_s=10)


async def test_what_a_consumer_loses_ends_a_pull_midway(
    pusher: Client, puller: Client, trade: ImageTrade, people: People
) -> None:
    name, consumer = name_of(trade), f"/consumers/{trade.key['consumerId']}"
    await push(pusher, name, "1.0.0")
    blob = f"/v2/{name}/blobs/{digest_of(b'layer')}"

    async def layer() -> int:
        return (await puller.ask("GET", blob)).status

    async def head() -> int:
        return (await puller.ask("HEAD", blob)).status

    async def tags() -> int:
        return (await puller.ask("GET", f"/v2/{name}/tags/list")).status

    for ask in (layer, head, tags):
        assert await ask() == 200
    await trade.admin.post(f"{consumer}:block", reason="test")
    for ask in (layer, head, tags):
        await reaches(ask, 401)
    await trade.admin.post(f"{consumer}:unblock")
    await reaches(layer, 200)
    merchant = f"/merchants/{trade.publishing.service['merchantId']}"
    await trade.admin.post(f"{merchant}:suspend", reason="test")
    for ask, status in ((layer, 403), (head, 404), (tags, 403)):
        await reaches(ask, status)
    await trade.admin.post(f"{merchant}:reinstate")
    await reaches(layer, 200)
    # Who was stopped meanwhile goes on with a new access token.
    consumer_again = await people.sign_in((await trade.admin.get(consumer))["email"])
    await consumer_again.post(f"/keys/{trade.key['keyId']}:revoke")
    for ask in (layer, head, tags):
        await reaches(ask, 401)


async def test_what_a_merchant_loses_ends_a_push_midway(
    pusher: Client, trade: ImageTrade, people: People
) -> None:
    location = (await pusher.ask("POST", f"/v2/{name_of(trade)}/blobs/uploads/")).headers["Location"]

    async def add() -> int:
        return (await pusher.ask("PATCH", location, data=b"x")).status

    async def end() -> int:
        return (await pusher.ask("PUT", f"{location}?digest={digest_of(b'other')}")).status

    async def look() -> int:
        return (await pusher.ask("GET", location)).status

    assert [await add(), await look()] == [202, 204]
    merchant = f"/merchants/{trade.publishing.service['merchantId']}"
    await trade.admin.post(f"{merchant}:suspend", reason="test")
    for ask in (add, look, end):
        await reaches(ask, 403)
    await trade.admin.post(f"{merchant}:reinstate")
    await reaches(look, 204)
    merchant_again = await people.sign_in((await trade.admin.get(merchant))["email"])
    await merchant_again.post(f"/push-tokens/{trade.publishing.token['pushTokenId']}:revoke")
    for ask in (add, look, end):
        await reaches(ask, 401)


async def test_revocation_ends_a_layer_that_is_coming_in(pusher: Client, trade: ImageTrade) -> None:
    name = name_of(trade)
    location = (await pusher.ask("POST", f"/v2/{name}/blobs/uploads/")).headers["Location"]
    begun = asyncio.Event()

    async def without_end() -> AsyncIterator[bytes]:
        while True:
            yield b"more"
            begun.set()
            await asyncio.sleep(0.1)

    adding = asyncio.create_task(pusher.ask("PATCH", location, data=without_end()))
    await begun.wait()
    await trade.publishing.merchant.post(f"/push-tokens/{trade.publishing.token['pushTokenId']}:revoke")
    async with asyncio.timeout(15):
        refused = await adding
    assert (refused.status, "revoked" in refused.text) == (401, True)


async def test_revocation_ends_a_layer_that_is_going_out(
    pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name, content = name_of(trade), secrets.token_bytes(2**20) * 100
    await push(pusher, name, "1.0.0", content)
    headers = {"Authorization": f"Bearer {puller.token}"}
    url = f"{puller.url}/v2/{name}/blobs/{digest_of(content)}"
    async with puller.http.get(url, headers=headers) as response:
        size = len(await response.content.readexactly(1000))
        await trade.consumer.post(f"/keys/{trade.key['keyId']}:revoke")
        with contextlib.suppress(aiohttp.ClientPayloadError):
            while chunk := await response.content.read(2**20):  # slower than the check comes round
                size += len(chunk)
                await asyncio.sleep(0.1)
    assert 0 < size < len(content)


async def test_tags_are_listed_by_pages_that_only_tags_can_begin(
    pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    for tag in ("1.0.0", "1.1.0"):
        await push(pusher, name, tag)
    none = await puller.ask("GET", f"/v2/{name}/tags/list?n=0")
    assert (json.loads(none.body)["tags"], "Link" in none.headers) == ([], False)
    rest = await puller.ask("GET", f"/v2/{name}/tags/list?n=1&last=1.0.0")
    assert (json.loads(rest.body)["tags"], "Link" in rest.headers) == (["1.1.0"], False)
    for last in ("%00", "x%0d%0aX-Injected:%20yes", "..%2f", "%ff", "x" * 129):
        for count in ("", "0", "1"):
            refused = await puller.ask("GET", f"/v2/{name}/tags/list?n={count}&last={last}")
            assert (refused.status, "TAG_INVALID" in refused.text) == (400, True), last
            assert "X-Injected" not in refused.headers
