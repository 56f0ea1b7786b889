"""Publishing and deleting versions, with a real provider behind."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from ams_common.database import Database
from ams_common.ids import uuid7
from registry_svc.auth.errors import PushDeniedError
from registry_svc.auth.principals import Publisher
from registry_svc.images import manifests
from registry_svc.images.published import PublishedImages
from registry_svc.images.publishing import ImagePublisher
from registry_svc.names import digest_of
from registry_svc.oci.errors import as_oci
from registry_svc.providers.oci_client import NoAuth, OciClient, open_session
from registry_svc.storage.store import Store

TYPE = "application/vnd.oci.image.manifest.v1+json"


class Merchant:
    """Pushes and deletes in one repository, through one replica of registry-svc."""

    def __init__(self, database: Database[Store], provider: OciClient, publisher: Publisher) -> None:
        self.images = ImagePublisher(database)
        self.published = PublishedImages(database, self.images, provider)
        self.provider = provider
        self.publisher = publisher
        self.name = publisher.token.repository

    async def push(self, tag: str, body: bytes) -> str:
        manifest = manifests.check_manifest(TYPE, body)
        async with self.images.publishing(self.publisher, self.name, tag, manifest):
            await self.provider.put_manifest(self.name, manifest.digest, TYPE, body)
        return manifest.digest

    async def delete(self, reference: str) -> bool:
        delete_manifest = partial(self.provider.delete_manifest, self.name)
        return await self.images.delete(self.publisher, self.name, reference, delete_manifest)

    async def is_stored(self, digest: str) -> bool:
        return await self.provider.find_manifest(self.name, digest) is not None


@pytest.fixture
async def provider(registry_url: str) -> AsyncIterator[OciClient]:
    async with open_session() as http:
        yield OciClient(http, registry_url, NoAuth())


@pytest.fixture
async def replicas(database: Database[Store], provider: OciClient, shelf: Any) -> list[Merchant]:
    """The same merchant at two replicas of registry-svc."""
    publisher = Publisher(await shelf.token(uuid7()))
    return [Merchant(database, provider, publisher) for _ in range(2)]


async def image(provider: OciClient, name: str) -> bytes:
    """A manifest without layers, and the configuration that it names."""
    config = secrets.token_bytes(10)

    async def content() -> AsyncIterator[bytes]:
        yield config

    session = await provider.append(name, await provider.start_upload(name), content())
    await provider.finish_upload(name, session, digest_of(config))
    part = {"mediaType": "application/x", "digest": digest_of(config), "size": 10}
    return json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": part, "layers": []}).encode()


@pytest.mark.parametrize("other", [0, 1], ids=["the same replica", "another replica"])
async def test_a_digest_is_not_deleted_under_a_version_that_is_just_pushed(
    replicas: list[Merchant], other: int
) -> None:
    deleting, pushing = replicas[0], replicas[other]
    body = await image(deleting.provider, deleting.name)
    digest = await deleting.push("1.0.0", body)
    races: list[asyncio.Task[str]] = []

    async def delete_unused(unused: str) -> None:
        """The digest was found to be unused; now somebody promotes it."""
        races.append(asyncio.create_task(pushing.push("1.1.0", body)))
        await asyncio.wait(races, timeout=0.5)
        await deleting.provider.delete_manifest(deleting.name, unused)

    assert await deleting.images.delete(deleting.publisher, deleting.name, "1.0.0", delete_unused)
    assert await races[0] == digest
    assert await deleting.is_stored(digest)


async def test_a_digest_that_another_version_has_stays_when_one_is_deleted(replicas: list[Merchant]) -> None:
    merchant = replicas[0]
    body = await image(merchant.provider, merchant.name)
    digest = await merchant.push("1.0.0-rc.1", body)
    await merchant.push("1.0.0", body)
    assert await merchant.delete("1.0.0-rc.1")
    assert await merchant.is_stored(digest)
    assert await merchant.delete("1.0.0")
    assert not await merchant.is_stored(digest)
    assert not await merchant.delete("1.0.0")


async def test_a_deletion_that_the_provider_fails_deletes_nothing(
    replicas: list[Merchant], shelf: Any
) -> None:
    merchant = replicas[0]
    digest = await merchant.push("1.0.0", await image(merchant.provider, merchant.name))

    async def fails(digest: str) -> None:
        raise OSError

    with pytest.raises(OSError):
        await merchant.images.delete(merchant.publisher, merchant.name, "1.0.0", fails)
    async with shelf.database.connection() as connection:
        status = await connection.fetchval("SELECT status FROM images WHERE digest = $1", digest)
    assert status == "active"
    assert [action for _, action, _, _ in await shelf.audits()] == ["image.push"]


@pytest.mark.parametrize(
    ("status", "words"), [("active", "other content"), ("deprecated", "deprecated"), ("deleted", "deleted")]
)
async def test_a_version_that_was_published_never_becomes_another_nor_comes_back(
    replicas: list[Merchant], shelf: Any, status: str, words: str
) -> None:
    merchant = replicas[0]
    first = await image(merchant.provider, merchant.name)
    await merchant.push("1.0.0", first)
    await merchant.push("1.0.0", first)  # the same again is no harm
    async with shelf.database.connection() as connection:
        await connection.execute("UPDATE images SET status = $1", status)
    second = await image(merchant.provider, merchant.name)
    for body in [second] if status == "active" else [first, second]:
        with pytest.raises(PushDeniedError) as refused:
            await merchant.push("1.0.0", body)
        assert as_oci(refused.value).code == "DENIED"
        assert words in refused.value.message and "Push a new version" in refused.value.message
    assert not await merchant.is_stored(manifests.check_manifest(TYPE, second).digest)
    async with shelf.database.connection() as connection:
        assert await connection.fetchval("SELECT status FROM images") == status


async def test_a_rejected_version_may_be_pushed_again(replicas: list[Merchant], shelf: Any) -> None:
    merchant = replicas[0]
    body = await image(merchant.provider, merchant.name)
    await merchant.push("1.0.0", body)
    async with shelf.database.connection() as connection:
        await connection.execute("UPDATE images SET status = 'rejected', rejection_reason = 'No'")
    digest = await merchant.push("1.0.0", await image(merchant.provider, merchant.name))
    async with shelf.database.connection() as connection:
        row = await connection.fetchrow("SELECT status, digest, rejection_reason FROM images")
    assert tuple(row) == ("active", digest, "")


async def test_many_pushes_at_once_leave_connections_for_everything_else(
    replicas: list[Merchant], shelf: Any
) -> None:
    merchant = replicas[0]
    body = await image(merchant.provider, merchant.name)
    manifest = manifests.check_manifest(TYPE, body)
    held, let_go = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with merchant.images.publishing(merchant.publisher, merchant.name, "1.0.0", manifest):
            held.set()
            await let_go.wait()

    first = asyncio.create_task(slow())
    await held.wait()
    waiting = [asyncio.create_task(merchant.push(f"1.{number}.0", body)) for number in range(1, 20)]
    done, _ = await asyncio.wait(waiting, timeout=0.5)
    assert not done
    async with asyncio.timeout(5):
        assert await merchant.published.list_tags(merchant.name, "", 100) == []
    let_go.set()
    await asyncio.gather(first, *waiting)
    assert len(await merchant.published.list_tags(merchant.name, "", 100)) == 20
