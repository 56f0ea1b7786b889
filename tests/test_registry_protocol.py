"""The OCI protocol at /v2/ of registry-svc, request by request: what skopeo never does."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from support.docker_images import MANIFEST, Part, digest_of
from support.image_trade import ImageTrade, open_image_trade
from support.registry_client import (
    INDEX,
    Answer,
    Client,
    basic_auth,
    manifest,
    name_of,
    pulled_tags,
    push,
    upload,
)
from support.running_system import ADMIN_EMAIL, RunningSystem


async def test_nobody_gets_in_without_signing_in(anybody: Client, trade: ImageTrade) -> None:
    name = name_of(trade)
    for method, path in (
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("GET", f"/v2/{name}/tags/list"),
        ("GET", f"/v2/{name}/manifests/1.0.0"),
        ("HEAD", f"/v2/{name}/blobs/{digest_of(b'')}"),
        ("POST", f"/v2/{name}/blobs/uploads/"),
        ("PUT", f"/v2/{name}/manifests/1.0.0"),
    ):
        refused = await anybody.ask(method, path)
        assert refused.status == 401, path
        assert refused.headers["WWW-Authenticate"].startswith(f'Bearer realm="{anybody.url}/token",service=')
    assert (await anybody.ask("GET", "/token")).status == 401
    for password in ("", "wrong", "ams_push_" + "0" * 40, "ams_live_" + "0" * 46):
        headers = {"Authorization": basic_auth(password)}
        assert (await anybody.ask("GET", "/token", headers=headers)).status == 401


async def test_an_oauth2_form_signs_in_as_basic_authentication_does(
    anybody: Client, pusher: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    await push(pusher, name, "1.0.0")
    # As containerd sends it.
    form = {
        "grant_type": "password",
        "service": "ams",
        "client_id": "containerd-client",
        "scope": f"repository:{name}:pull repository:{name}/tool:pull",
        "username": "ams",
        "password": trade.secret,
    }
    answer = await anybody.ask("POST", "/token", data=form)
    assert answer.status == 200, answer.text
    body = json.loads(answer.body)
    assert (body["token"], body["expires_in"]) == (body["access_token"], 300)
    client = Client(anybody.http, anybody.url, body["access_token"])
    assert (await client.ask("GET", f"/v2/{name}/manifests/1.0.0")).status == 200
    assert (await anybody.ask("POST", "/token", data={**form, "password": "wrong"})).status == 401
    refresh = {**form, "grant_type": "refresh_token", "refresh_token": trade.secret}
    for unfit in (refresh, {}, {"grant_type": ""}):
        refused = await anybody.ask("POST", "/token", data=unfit)
        assert refused.status == 400
        assert json.loads(refused.body)["error"] == "unsupported_grant_type"
    for hostile in (b"%ff=%ff&\xff", b"&".join([b"a=1"] * 100), b"grant_type"):
        assert (await anybody.ask("POST", "/token", data=hostile)).status == 400
    assert (await anybody.ask("POST", "/token", data=b"x" * 20_000)).status == 413


async def test_there_is_no_catalogue_for_anybody_signed_in(pusher: Client, puller: Client) -> None:
    for client in (pusher, puller):
        assert (await client.ask("GET", "/v2/")).status == 200
        refused = await client.ask("GET", "/v2/_catalog")
        assert (refused.status, "DENIED" in refused.text) == (403, True)


async def test_an_access_token_opens_what_it_names_and_no_more(
    anybody: Client, trade: ImageTrade, puller: Client, pusher: Client
) -> None:
    name = name_of(trade)
    await push(pusher, name, "1.0.0")
    assert (await puller.ask("POST", f"/v2/{name}/blobs/uploads/")).status == 401
    assert (await puller.ask("GET", f"/v2/{name}/tool/tags/list")).status == 401
    greedy = await anybody.sign_in(trade.secret, f"repository:{name}:pull,push,delete")
    assert (await greedy.ask("GET", f"/v2/{name}/tags/list")).status == 200
    refused = await greedy.ask("DELETE", f"/v2/{name}/manifests/1.0.0")
    assert (refused.status, "An API key can't push" in refused.text) == (403, True)
    forged = Client(puller.http, puller.url, puller.token[:-8] + "AAAAAAAA")
    assert (await forged.ask("GET", f"/v2/{name}/tags/list")).status == 401


async def test_a_key_that_is_bound_to_networks_pulls_from_there_only(
    anybody: Client, trade: ImageTrade, puller: Client, pusher: Client
) -> None:
    name, key_id = name_of(trade), trade.key["keyId"]
    await push(pusher, name, "1.0.0")
    elsewhere = {"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7"}

    async def pull() -> Answer:
        return await puller.ask("GET", f"/v2/{name}/manifests/1.0.0", headers=elsewhere)

    assert (await pull()).status == 200
    await trade.consumer.post(f"/keys/{key_id}:setAllowedNetworks", allowedNetworks=["198.51.100.0/24"])
    # The token that it had before says nothing of networks, and nobody says by a header where they are.
    refused = await pull()
    assert (refused.status, "this network" in refused.text) == (401, True)
    signing_in = await anybody.ask("GET", "/token", headers={"Authorization": basic_auth(trade.secret)})
    assert (signing_in.status, "this network" in signing_in.text) == (401, True)
    await trade.consumer.post(f"/keys/{key_id}:setAllowedNetworks", allowedNetworks=["127.0.0.0/8"])
    assert (await pull()).status == 200


async def test_hostile_paths_are_refused(pusher: Client, trade: ImageTrade) -> None:
    name, digest = name_of(trade), digest_of(b"")
    for path in (
        f"/v2/{name}/../../etc/passwd/manifests/1.0.0",
        f"/v2/{name}%2f..%2fother/manifests/1.0.0",
        f"/v2/{name}/manifests/..%2f..%2fx",
        f"/v2/{name}/manifests/sha256:../../x",
        f"/v2/{name}/blobs/sha256:{'0' * 63}G",
        f"/v2/{name}/blobs/uploads/..%2f{digest}",
        f"/v2/{name.upper()}/tags/list",
        f"/v2/{'a' * 300}/{'b' * 300}/tags/list",
        "/v2/one/tags/list",
        "/v2/a/b/c/d/tags/list",
    ):
        refused = await pusher.ask("GET", path)
        assert refused.status in (400, 401, 404), (path, refused.status)


async def test_an_upload_in_chunks_is_resumed_where_it_broke_off(pusher: Client, trade: ImageTrade) -> None:
    name, content = name_of(trade), secrets.token_bytes(3_000_000)
    begun = await pusher.ask("POST", f"/v2/{name}/blobs/uploads/")
    location = begun.headers["Location"]
    first = await pusher.ask("PATCH", location, data=content[:1_000_000])
    assert (first.status, first.headers["Range"]) == (202, "0-999999")

    async def breaks_off() -> AsyncIterator[bytes]:
        yield content[1_000_000:1_500_000]
        raise ConnectionResetError

    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await pusher.ask("PATCH", location, data=breaks_off())

    async def arrived() -> int:
        """What is there once the broken request has been noticed."""
        status = await pusher.ask("GET", location)
        assert status.status == 204
        size = int(status.headers["Range"].partition("-")[2]) + 1
        return size if size > 1_000_000 else 0

    size = await eventually(arrived)
    assert size <= 1_500_000
    wrong = {"Content-Range": f"{size + 1}-{len(content) - 1}"}
    assert (await pusher.ask("PATCH", location, data=content[size + 1 :], headers=wrong)).status == 416
    right = {"Content-Range": f"{size}-{len(content) - 1}"}
    assert (await pusher.ask("PATCH", location, data=content[size:], headers=right)).status == 202
    done = await pusher.ask("PUT", f"{location}?digest={digest_of(content)}")
    assert done.status == 201, done.text
    blob = await pusher.ask("GET", done.headers["Location"])
    assert (blob.status, blob.body == content) == (200, True)


async def test_asking_how_much_is_there_never_ends_an_upload(pusher: Client, trade: ImageTrade) -> None:
    """Also at the moment at which a request that adds to it ends."""
    name, content = name_of(trade), secrets.token_bytes(50_000)
    location = (await pusher.ask("POST", f"/v2/{name}/blobs/uploads/")).headers["Location"]
    for _ in range(20):
        adding = asyncio.create_task(pusher.ask("PATCH", location, data=content))
        while not adding.done():
            asked = await asyncio.gather(*(pusher.ask("GET", location) for _ in range(4)))
            assert {answer.status for answer in asked} == {204}
        assert adding.result().status == 202
    done = await pusher.ask("PUT", f"{location}?digest={digest_of(20 * content)}")
    assert done.status == 201, done.text


async def test_an_upload_is_its_pushers_alone_and_can_be_cancelled(
    anybody: Client, pusher: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    location = (await pusher.ask("POST", f"/v2/{name}/blobs/uploads/")).headers["Location"]
    service_id = trade.publishing.service["serviceId"]
    other_token = await trade.publishing.merchant.post("/push-tokens", serviceId=service_id)
    other = await anybody.sign_in(other_token["secret"], f"repository:{name}:pull,push")
    assert (await other.ask("PATCH", location, data=b"x")).status == 404
    assert (await pusher.ask("DELETE", location)).status == 204
    assert (await pusher.ask("GET", location)).status == 404


async def test_content_with_another_digest_is_refused(pusher: Client, trade: ImageTrade) -> None:
    path = f"/v2/{name_of(trade)}/blobs/uploads/?digest={digest_of(b'right')}"
    refused = await pusher.ask("POST", path, data=b"wrong")
    assert (refused.status, "DIGEST_INVALID" in refused.text) == (400, True)


async def test_a_part_of_a_layer_can_be_asked_for(pusher: Client, puller: Client, trade: ImageTrade) -> None:
    name = name_of(trade)
    await push(pusher, name, "1.0.0", b"0123456789")
    path = f"/v2/{name}/blobs/{digest_of(b'0123456789')}"
    head = await puller.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, "10")
    part = await puller.ask("GET", path, headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert (await puller.ask("GET", path, headers={"Range": "bytes=20-"})).status == 416
    assert (await puller.ask("GET", path, headers={"Range": "bytes=-3"})).body == b"789"
    for not_one in ("bytes=0-1,4-5", "bytes=0-1, -1", "bytes=x-", "lines=0-1"):
        whole = await puller.ask("GET", path, headers={"Range": not_one})
        assert (whole.status, whole.body) == (200, b"0123456789"), not_one
    assert (await puller.ask("GET", f"/v2/{name}/blobs/{digest_of(b'none')}")).status == 404


async def test_a_layer_is_mounted_only_from_where_one_may_read(
    anybody: Client, people: People, pusher: Client, trade: ImageTrade
) -> None:
    other = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    theirs, mine = name_of(other), name_of(trade)
    stranger = await anybody.sign_in(other.publishing.secret, f"repository:{theirs}:pull,push")
    secret = await upload(stranger, theirs, secrets.token_bytes(100))
    both = await anybody.sign_in(
        trade.publishing.secret, f"repository:{mine}:pull,push", f"repository:{theirs}:pull"
    )
    refused = await both.ask("POST", f"/v2/{mine}/blobs/uploads/?mount={secret}&from={theirs}")
    assert refused.status == 202  # a plain upload: nothing tells whether the layer exists
    assert (await both.ask("HEAD", f"/v2/{mine}/blobs/{secret}")).status == 404

    own = await upload(pusher, mine, secrets.token_bytes(100))
    tool = await anybody.sign_in(
        trade.publishing.secret, f"repository:{mine}/tool:pull,push", f"repository:{mine}:pull"
    )
    mounted = await tool.ask("POST", f"/v2/{mine}/tool/blobs/uploads/?mount={own}&from={mine}")
    assert mounted.status == 201
    assert (await tool.ask("HEAD", f"/v2/{mine}/tool/blobs/{own}")).status == 200


async def test_bad_manifests_are_refused(pusher: Client, trade: ImageTrade) -> None:
    path = f"/v2/{name_of(trade)}/manifests/1.0.0"
    good = {"Content-Type": MANIFEST}
    for body, headers, status in (
        (b"no json", good, 400),
        (b"[" * 100_000, good, 400),
        (b'{"schemaVersion":1}', good, 400),
        (b'{"schemaVersion":2}', {"Content-Type": "text/html"}, 400),
        (b" " * (4 * 1024 * 1024 + 1), good, 413),
        (manifest(Part(digest_of(b"missing"), 1)), good, 404),
    ):
        refused = await pusher.ask("PUT", path, data=body, headers=headers)
        assert refused.status == status, refused.text


async def test_one_pull_is_one_request_however_many_manifests_are_asked_for(
    system: RunningSystem, pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    digest = await push(pusher, name, "1.0.0")
    for reference in ("1.0.0", digest, "1.0.0"):
        got = await puller.ask("GET", f"/v2/{name}/manifests/{reference}")
        assert (got.status, digest_of(got.body)) == (200, digest)
        assert (await puller.ask("HEAD", f"/v2/{name}/manifests/{reference}")).status == 200
    assert len(await pulled_tags(system, name)) == 1


async def test_an_index_of_platforms_is_one_pull_and_only_what_it_names_can_be_pulled(
    system: RunningSystem, pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name, headers = name_of(trade), {"Content-Type": MANIFEST}
    config = Part(await upload(pusher, name, b"{}"), 2)
    platform = manifest(config, Part(await upload(pusher, name, b"arm"), 3))
    orphan = manifest(config, Part(await upload(pusher, name, b"x86"), 3))
    for body in (platform, orphan):
        path = f"/v2/{name}/manifests/{digest_of(body)}"
        assert (await pusher.ask("PUT", path, data=body, headers=headers)).status == 201
    parts = [{"mediaType": MANIFEST, "digest": digest_of(platform), "size": len(platform)}]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}).encode()
    path = f"/v2/{name}/manifests/1.0.0"
    assert (await pusher.ask("PUT", path, data=index, headers={"Content-Type": INDEX})).status == 201

    assert (await puller.ask("GET", path)).body == index
    assert (await puller.ask("GET", f"/v2/{name}/manifests/{digest_of(platform)}")).body == platform
    assert (await puller.ask("GET", f"/v2/{name}/manifests/{digest_of(orphan)}")).status == 404
    assert len(await pulled_tags(system, name)) == 1


async def test_revocation_reaches_a_token_that_is_still_good(
    pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    await push(pusher, name, "1.0.0")
    path = f"/v2/{name}/manifests/1.0.0"
    assert (await puller.ask("GET", path)).status == 200
    await trade.consumer.post(f"/keys/{trade.key['keyId']}:revoke")
    refused = await puller.ask("GET", path)
    assert (refused.status, "revoked" in refused.text) == (401, True)
    await trade.publishing.merchant.post(f"/push-tokens/{trade.publishing.token['pushTokenId']}:revoke")
    refused = await pusher.ask("POST", f"/v2/{name}/blobs/uploads/")
    assert (refused.status, "revoked" in refused.text) == (401, True)


async def test_blocking_a_consumer_and_suspending_a_merchant_reach_the_registry_within_seconds(
    pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    await push(pusher, name, "1.0.0")

    async def statuses() -> list[int]:
        pulled = await puller.ask("GET", f"/v2/{name}/manifests/1.0.0")
        pushed = await pusher.ask("POST", f"/v2/{name}/blobs/uploads/")
        return [pulled.status, pushed.status]

    async def come_to(expected: list[int]) -> bool:
        return await statuses() == expected

    assert await statuses() == [200, 202]
    await trade.admin.post(f"/consumers/{trade.key['consumerId']}:block", reason="test")
    assert await eventually(lambda: come_to([401, 202]), timeout_s=10)
    await trade.admin.post(f"/consumers/{trade.key['consumerId']}:unblock")
    assert await eventually(lambda: come_to([200, 202]), timeout_s=10)
    await trade.admin.post(f"/merchants/{trade.publishing.service['merchantId']}:suspend", reason="test")
    assert await eventually(lambda: come_to([403, 403]), timeout_s=10)


async def test_a_merchant_deletes_its_version_and_nobody_elses(
    anybody: Client, pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    await push(pusher, name, "1.0.0")
    await push(pusher, name, "1.1.0", b"other")
    listed = await puller.ask("GET", f"/v2/{name}/tags/list?n=1")
    assert listed.body == b'{"name":"%s","tags":["1.0.0"]}' % name.encode()
    assert "last=1.0.0" in listed.headers["Link"]
    deleter = await anybody.sign_in(trade.publishing.secret, f"repository:{name}:*")
    assert (await deleter.ask("DELETE", f"/v2/{name}/manifests/1.0.0")).status == 202
    assert (await deleter.ask("DELETE", f"/v2/{name}/manifests/1.0.0")).status == 404
    assert (await puller.ask("GET", f"/v2/{name}/manifests/1.0.0")).status == 404
    assert (await puller.ask("GET", f"/v2/{name}/manifests/1.1.0")).status == 200
    blob = f"/v2/{name}/blobs/{digest_of(b'other')}"
    assert (await deleter.ask("DELETE", blob)).status == 405


async def test_while_the_store_is_away_clients_are_told_to_come_back(
    system: RunningSystem, pusher: Client, puller: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    digest = await push(pusher, name, "1.0.0")
    system.kill("distribution")
    try:
        for method, path in (
            ("POST", f"/v2/{name}/blobs/uploads/"),
            ("GET", f"/v2/{name}/manifests/1.0.0"),
            ("GET", f"/v2/{name}/blobs/{digest}"),
        ):
            refused = await pusher.ask(method, path)
            assert (refused.status, "UNAVAILABLE" in refused.text) == (503, True)
        assert (await puller.ask("GET", f"/v2/{name}/manifests/1.0.0")).status == 503
        assert await pulled_tags(system, name) == []  # what isn't given isn't billed
    finally:
        system.start("distribution")
    assert (await puller.ask("GET", f"/v2/{name}/manifests/1.0.0")).status == 200
    assert len(await pulled_tags(system, name)) == 1


async def test_a_killed_registry_goes_on_with_uploads_between_two_chunks(
    system: RunningSystem, pusher: Client, trade: ImageTrade
) -> None:
    name = name_of(trade)
    location = (await pusher.ask("POST", f"/v2/{name}/blobs/uploads/")).headers["Location"]
    assert (await pusher.ask("PATCH", location, data=b"first, ")).status == 202
    system.kill("registry-svc")
    system.start("registry-svc")
    assert (await pusher.ask("GET", location)).headers["Range"] == "0-6"
    assert (await pusher.ask("PATCH", location, data=b"second")).status == 202
    done = await pusher.ask("PUT", f"{location}?digest={digest_of(b'first, second')}")
    assert done.status == 201


async def test_many_uploads_at_once_all_arrive(pusher: Client, trade: ImageTrade) -> None:
    contents = [secrets.token_bytes(200_000) for _ in range(8)]
    digests = await asyncio.gather(*(upload(pusher, name_of(trade), content) for content in contents))
    assert digests == [digest_of(content) for content in contents]
