import secrets
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from playwright.async_api import Browser
from support import chromium, running_system, upstream_api
from support.image_merchant import Shop, open_shop
from support.registry_client import Client, name_of
from support.rest_clients import Mailbox, People, Rest


@pytest.fixture(scope="session")
def world(admin_database_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[running_system.World]:
    """The whole system, shared by the tests that leave it as they found it."""
    with running_system.running(admin_database_url, redis_url, kafka_bootstrap) as system:
        yield system


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
def rest(http: aiohttp.ClientSession, world: running_system.World) -> Rest:
    """The REST API, not signed in."""
    return Rest(http, world.rest_url)


@pytest.fixture
def people(rest: Rest, http: aiohttp.ClientSession, world: running_system.World) -> People:
    return People(rest, Mailbox(http, world.mail_url, world.read_mails), world.tokens)


@pytest.fixture
async def upstream() -> AsyncIterator[upstream_api.Upstream]:
    async with upstream_api.serving() as serving:
        yield serving


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium.chromium() as browser:
        yield browser


@pytest.fixture
def anybody(world: running_system.World, http: aiohttp.ClientSession) -> Client:
    return Client(http, world.system.url("registry-svc"))


@pytest.fixture
async def shop(people: People) -> Shop:
    return await open_shop(people, running_system.ADMIN_EMAIL, secrets.token_hex(3))


@pytest.fixture
async def pusher(anybody: Client, shop: Shop) -> Client:
    return await anybody.sign_in(shop.publishing.secret, f"repository:{name_of(shop)}:pull,push")


@pytest.fixture
async def puller(anybody: Client, shop: Shop) -> Client:
    return await anybody.sign_in(shop.secret, f"repository:{name_of(shop)}:pull")
