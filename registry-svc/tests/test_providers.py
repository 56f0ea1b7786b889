"""Both providers do the same. Azure's is opened as registry-svc opens it, and signs in as at Azure Container
Registry: a managed identity proves itself to a service in front of a CNCF distribution that lets nobody in
without that service's token for the very repository."""

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from ams_common.settings import load
from registry_svc.__main__ import open_provider
from registry_svc.names import digest_of
from registry_svc.providers.oci_client import CHUNK_BYTES, NoAuth, OciClient, open_session
from registry_svc.providers.provider import ImageRegistryProvider, ProviderError, RefusedByProviderError
from registry_svc.settings import Settings

TYPE = "application/vnd.oci.image.manifest.v1+json"
HOP_BY_HOP = {"Host", "Connection", "Transfer-Encoding", "Keep-Alive"}


@dataclass
class Front:
    """The registry's one address: the managed identity's endpoint, the token exchange of its documentation
    (AAD-OAuth.md), and the registry itself behind."""

    azure: Any
    http: aiohttp.ClientSession
    closed: set[str] = field(default_factory=set)  # repositories for which no token is given
    lies: bool = False  # about the digests of manifests

    async def identity(self, request: web.Request) -> web.Response:
        assert request.headers["X-IDENTITY-HEADER"] == "us"
        token = {"access_token": "entra", "expires_on": str(int(time.time()) + 3600), "token_type": "Bearer"}
        return web.json_response({**token, "resource": request.query["resource"]})

    async def exchange(self, request: web.Request) -> web.Response:
        form = await self._form(request, "access_token")
        assert form["access_token"] == "entra"
        return web.json_response({"refresh_token": self._sign([])})

    async def token(self, request: web.Request) -> web.Response:
        form = await self._form(request, "refresh_token")
        jwt.decode(form["refresh_token"], self.azure.key.public_key(), ["ES256"], audience=form["service"])
        access = []
        for scope in form["scope"].split():
            kind, name, actions = scope.split(":")
            if name not in self.closed:
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        return web.json_response({"access_token": self._sign(access)})

    async def _form(self, request: web.Request, grant_type: str) -> dict[str, str]:
        form = {name: str(value) for name, value in (await request.post()).items()}
        assert (form["grant_type"], form["service"]) == (grant_type, f"127.0.0.1:{self.azure.port}")
        return form

    def _sign(self, access: list[Any]) -> str:
        now = int(time.time())
        claims = {"iss": "Azure Container Registry", "aud": f"127.0.0.1:{self.azure.port}", "sub": "us"}
        times = {"iat": now, "nbf": now - 1, "exp": now + 3600, "jti": secrets.token_hex(4)}
        chain = [base64.b64encode(self.azure.certificate).decode()]
        return jwt.encode(
            {**claims, **times, "access": access}, self.azure.key, "ES256", headers={"x5c": chain}
        )

    async def registry(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        body = request.content if request.body_exists else None
        url = f"{self.azure.behind}{request.raw_path}"
        async with self.http.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            passed_on = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
            if self.lies and "Docker-Content-Digest" in passed_on:
                passed_on["Docker-Content-Digest"] = digest_of(b"a lie")
            response = web.StreamResponse(status=answer.status, headers=passed_on)
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                await response.write(chunk)
            return response


@pytest.fixture
async def front(azure: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    async with open_session() as http:
        served = Front(azure, http)
        app = web.Application()
        app.router.add_get("/identity", served.identity)
        app.router.add_post("/oauth2/exchange", served.exchange)
        app.router.add_post("/oauth2/token", served.token)
        app.router.add_route("*", "/v2/{path:.*}", served.registry)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", azure.port).start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{azure.port}/identity")
        monkeypatch.setenv("IDENTITY_HEADER", "us")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        yield served
        await runner.cleanup()


def settings(provider: str, url: str) -> Settings:
    elsewhere = {"REGISTRY_DATABASE_URL": "x", "REGISTRY_LISTEN": "x", "KAFKA_BOOTSTRAP_SERVERS": "x"}
    peers = {f"{name}_ADDRESS": "x" for name in ("IDENTITY", "CATALOG", "KEYS")}
    ours = {"REGISTRY_PROVIDER": provider, "REGISTRY_PROVIDER_URL": url}
    return load(Settings, "REGISTRY", elsewhere | peers | ours)


@pytest.fixture
async def azure_provider(front: Front) -> AsyncIterator[ImageRegistryProvider]:
    async with open_provider(settings("azure", f"http://127.0.0.1:{front.azure.port}")) as opened:
        yield opened


@pytest.fixture
async def distribution_provider(registry_url: str) -> AsyncIterator[ImageRegistryProvider]:
    async with open_provider(settings("distribution", registry_url)) as opened:
        yield opened


@pytest.fixture(params=["distribution", "azure"])
def provider(
    request: pytest.FixtureRequest,
    distribution_provider: ImageRegistryProvider,
    azure_provider: ImageRegistryProvider,
) -> ImageRegistryProvider:
    return azure_provider if request.param == "azure" else distribution_provider


@pytest.fixture
def name() -> str:
    return f"acme/{secrets.token_hex(4)}"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def upload(provider: ImageRegistryProvider, name: str, *parts: bytes) -> str:
    session = await provider.append(name, await provider.start_upload(name), chunks(*parts))
    digest = digest_of(b"".join(parts))
    await provider.finish_upload(name, session, digest)
    return digest


async def manifest(provider: ImageRegistryProvider, name: str) -> bytes:
    config = await upload(provider, name, b"{}")
    layer = await upload(provider, name, b"layer")
    # Spaces that no parser would keep: what comes back must be the very bytes.
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config,
                "size": 2,
            },
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 5}],
        },
        indent=3,
    ).encode()


async def read(provider: ImageRegistryProvider, name: str, digest: str, byte_range: str = "") -> Any:
    """(status, length, Content-Range, content, longest chunk)"""
    async with provider.open_blob(name, digest, byte_range) as blob:
        if blob is None:
            return None
        parts = [part async for part in blob.chunks]
        return blob.status, blob.length, blob.content_range, b"".join(parts), max(map(len, parts), default=0)


async def test_a_blob_goes_in_and_out_in_chunks(provider: ImageRegistryProvider, name: str) -> None:
    parts = [secrets.token_bytes(300_000) for _ in range(4)]
    digest = await upload(provider, name, *parts)
    assert await provider.find_blob(name, digest) == 1_200_000
    status, length, content_range, content, longest = await read(provider, name, digest)
    assert (status, length, content_range, content) == (200, 1_200_000, "", b"".join(parts))
    assert longest <= CHUNK_BYTES
    assert (await read(provider, name, digest, "bytes=10-19"))[:4] == (
        206,
        10,
        "bytes 10-19/1200000",
        parts[0][10:20],
    )
    assert (await read(provider, name, digest, "bytes=1200000-"))[0] == 416


async def test_an_upload_goes_on_where_it_was(provider: ImageRegistryProvider, name: str) -> None:
    session = await provider.start_upload(name)
    for part in (b"one", b"two", b"three"):
        session = await provider.append(name, session, chunks(part))
    await provider.finish_upload(name, session, digest_of(b"onetwothree"))
    assert (await read(provider, name, digest_of(b"onetwothree")))[3] == b"onetwothree"


async def test_an_upload_tells_how_much_is_there_unless_the_session_is_an_older_one(
    provider: ImageRegistryProvider, name: str
) -> None:
    first = await provider.start_upload(name)
    assert await provider.find_upload(name, first) is not None
    second = await provider.append(name, first, chunks(b"one", b"two"))
    found = await provider.find_upload(name, second)
    assert found is not None
    session, size_bytes = found
    assert size_bytes == 6
    third = await provider.append(name, session, chunks(b"three"))
    assert await provider.find_upload(name, second) is None
    await provider.cancel_upload(name, second)
    await provider.cancel_upload(name, third)
    assert await provider.find_upload(name, third) is None


async def test_what_is_not_there_is_none(provider: ImageRegistryProvider, name: str) -> None:
    digest = digest_of(b"nowhere")
    assert await provider.find_blob(name, digest) is None
    assert await read(provider, name, digest) is None
    assert await provider.find_manifest(name, digest) is None
    await provider.delete_manifest(name, digest)


async def test_another_digest_is_refused(provider: ImageRegistryProvider, name: str) -> None:
    session = await provider.append(name, await provider.start_upload(name), chunks(b"wrong"))
    with pytest.raises(RefusedByProviderError) as refused:
        await provider.finish_upload(name, session, digest_of(b"right"))
    assert refused.value.code == "DIGEST_INVALID"


async def test_a_cancelled_upload_is_gone(provider: ImageRegistryProvider, name: str) -> None:
    session = await provider.start_upload(name)
    await provider.cancel_upload(name, session)
    await provider.cancel_upload(name, session)
    with pytest.raises(RefusedByProviderError) as refused:
        await provider.append(name, session, chunks(b"late"))
    assert refused.value.code == "BLOB_UPLOAD_UNKNOWN"


async def test_a_blob_is_mounted_from_where_it_is(provider: ImageRegistryProvider, name: str) -> None:
    digest = await upload(provider, name, secrets.token_bytes(1000))
    assert await provider.mount_blob(f"{name}/tool", digest, name) is None
    assert await provider.find_blob(f"{name}/tool", digest) == 1000
    session = await provider.mount_blob(f"{name}/tool", digest_of(b"nowhere"), name)
    assert session is not None
    await provider.cancel_upload(f"{name}/tool", session)


async def test_a_mount_that_is_refused_is_an_ordinary_upload(
    azure_provider: ImageRegistryProvider, front: Front, name: str
) -> None:
    digest = await upload(azure_provider, name, b"layer")
    front.closed.add(name)
    session = await azure_provider.mount_blob(f"{name}/tool", digest, name)
    assert session is not None
    session = await azure_provider.append(f"{name}/tool", session, chunks(b"layer"))
    await azure_provider.finish_upload(f"{name}/tool", session, digest)
    assert await azure_provider.find_blob(f"{name}/tool", digest) == 5


async def test_a_registry_that_computes_another_digest_is_at_fault(
    azure_provider: ImageRegistryProvider, front: Front, name: str
) -> None:
    body = await manifest(azure_provider, name)
    front.lies = True
    with pytest.raises(ProviderError):
        await azure_provider.put_manifest(name, digest_of(body), TYPE, body)


async def test_a_refused_manifest_has_the_reason_that_the_registry_gave(
    provider: ImageRegistryProvider, name: str
) -> None:
    with pytest.raises(RefusedByProviderError) as refused:
        await provider.put_manifest(name, digest_of(b"no manifest"), TYPE, b"no manifest")
    assert refused.value.code == "MANIFEST_INVALID"


async def test_a_manifest_comes_back_byte_by_byte_until_it_is_deleted(
    provider: ImageRegistryProvider, name: str
) -> None:
    body = await manifest(provider, name)
    digest = digest_of(body)
    await provider.put_manifest(name, digest, TYPE, body)
    await provider.put_manifest(name, "1.0.0", TYPE, body)
    stored = await provider.find_manifest(name, digest)
    assert stored is not None
    assert (stored.digest, stored.media_type, stored.body) == (digest, TYPE, body)
    await provider.delete_manifest(name, digest)
    assert await provider.find_manifest(name, digest) is None


async def test_a_manifest_needs_its_parts(provider: ImageRegistryProvider, name: str) -> None:
    body = (await manifest(provider, name)).replace(b'"size": 2', b'"size": 2, "x": 1')
    await provider.put_manifest(name, digest_of(body), TYPE, body)
    other = f"{name}/other"
    with pytest.raises(RefusedByProviderError) as refused:
        await provider.put_manifest(other, digest_of(body), TYPE, body)
    assert refused.value.code == "MANIFEST_BLOB_UNKNOWN"


async def test_a_provider_that_is_away_is_its_own_error(nobody_listens: str, name: str) -> None:
    async with open_session() as http:
        provider = OciClient(http, f"http://{nobody_listens}", NoAuth())
        for attempt in (
            provider.start_upload(name),
            provider.find_blob(name, digest_of(b"")),
            provider.find_manifest(name, digest_of(b"")),
        ):
            with pytest.raises(ProviderError):
                await attempt
