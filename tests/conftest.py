import secrets
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest
from ams_common.testing.plugin import Schema, Serve, Template
from ams_common.testing.tokens import TestIssuer
from ams_local.rest import People, Rest
from playwright.async_api import Browser
from support import chromium, upstream_api
from support.image_trade import ImageTrade, open_image_trade
from support.registry_client import Client, name_of
from support.running_system import ADMIN_EMAIL, RunningSystem, running
from support.usage_pipeline import UsagePipeline, usage_pipeline


@pytest.fixture(scope="session")
def system(admin_database_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[RunningSystem]:
    """The whole system, shared by the tests that leave it as they found it."""
    with running(admin_database_url, redis_url, kafka_bootstrap) as system:
        yield system


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
def rest(http: aiohttp.ClientSession, system: RunningSystem) -> Rest:
    """The REST API, not signed in."""
    return Rest(http, system.rest_url)


@pytest.fixture
def people(http: aiohttp.ClientSession, system: RunningSystem) -> People:
    return system.people(http)


@pytest.fixture
async def upstream() -> AsyncIterator[upstream_api.Upstream]:
    async with upstream_api.serving() as serving:
        yield serving


@pytest.fixture
async def pipeline(
    admin_database_url: str,
    templates: Callable[[Schema], Template],
    kafka_bootstrap: str,
    topic_prefix: str,
    issuer: TestIssuer,
    serve_rpc: Serve,
) -> AsyncIterator[UsagePipeline]:
    """usage-svc and billing-svc with a Kafka between them, without the rest of the system. After the test no
    invariant of theirs is broken, whatever it did."""
    async with usage_pipeline(
        admin_database_url, templates, kafka_bootstrap, topic_prefix, issuer, serve_rpc
    ) as opened:
        yield opened
        await opened.check()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium.chromium() as browser:
        yield browser


@pytest.fixture
def anybody(system: RunningSystem, http: aiohttp.ClientSession) -> Client:
    return Client(http, system.url("registry-svc"))


@pytest.fixture
async def trade(people: People) -> ImageTrade:
    return await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))


@pytest.fixture
async def pusher(anybody: Client, trade: ImageTrade) -> Client:
    return await anybody.sign_in(trade.publishing.secret, f"repository:{name_of(trade)}:pull,push")


@pytest.fixture
async def puller(anybody: Client, trade: ImageTrade) -> Client:
    return await anybody.sign_in(trade.secret, f"repository:{name_of(trade)}:pull")
