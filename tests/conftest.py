import secrets
from collections.abc import AsyncIterator, Iterator

import aiohttp
import merchant
import pytest
import windows
import world as worlds
from docker_client import Client, name_of
from docker_shop import Shop, open_shop
from people import Mailbox, People, Rest
from playwright.async_api import Browser


@pytest.fixture(scope="session")
def world(admin_database_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[worlds.World]:
    """The whole system, shared by the tests that leave it as they found it."""
    with worlds.running(admin_database_url, redis_url, kafka_bootstrap) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
def rest(http: aiohttp.ClientSession, world: worlds.World) -> Rest:
    """The REST API, not signed in."""
    return Rest(http, world.rest_url)


@pytest.fixture
def people(rest: Rest, http: aiohttp.ClientSession, world: worlds.World) -> People:
    return People(rest, Mailbox(http, world.mail_url, world.read_mails), world.tokens)


@pytest.fixture
async def upstream() -> AsyncIterator[merchant.Upstream]:
    async with merchant.serving() as serving:
        yield serving


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with windows.chromium() as browser:
        yield browser


@pytest.fixture
def anybody(world: worlds.World, http: aiohttp.ClientSession) -> Client:
    return Client(http, world.system.url("images"))


@pytest.fixture
async def shop(people: People) -> Shop:
    return await open_shop(people, worlds.ADMIN_EMAIL, secrets.token_hex(3))


@pytest.fixture
async def pusher(anybody: Client, shop: Shop) -> Client:
    return await anybody.sign_in(shop.publishing.secret, f"repository:{name_of(shop)}:pull,push")


@pytest.fixture
async def puller(anybody: Client, shop: Shop) -> Client:
    return await anybody.sign_in(shop.secret, f"repository:{name_of(shop)}:pull")
