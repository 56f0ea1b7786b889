from collections.abc import AsyncIterator, Iterator

import aiohttp
import merchant
import pytest
import windows
import world as worlds
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
