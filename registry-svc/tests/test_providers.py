"""Both providers do the same. Azure's runs here against CNCF distribution, which knows the parts of the
protocol that it uses but asks for no sign-in: what Azure alone has is its token exchange
(test_azure_sign_in)."""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.containerregistry.aio import ContainerRegistryClient
from registry_svc.azure_registry import AzureProvider
from registry_svc.distribution import DistributionProvider
from registry_svc.names import digest_of
from registry_svc.provider import ImageRegistryProvider, ProviderError, RefusedByProviderError
from registry_svc.wire import CHUNK_BYTES, LetIn, open_session

TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(params=["distribution", "azure"])
async def provider(request: pytest.FixtureRequest, registry_url: str) -> AsyncIterator[ImageRegistryProvider]:
    async with open_session() as http:
        if request.param == "distribution":
            yield DistributionProvider(http, registry_url)
        else:
            async with ContainerRegistryClient(registry_url, None) as client:
                yield AzureProvider(http, registry_url, client, LetIn())


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
        provider = DistributionProvider(http, f"http://{nobody_listens}")
        for attempt in (
            provider.start_upload(name),
            provider.find_blob(name, digest_of(b"")),
            provider.find_manifest(name, digest_of(b"")),
        ):
            with pytest.raises(ProviderError):
                await attempt
