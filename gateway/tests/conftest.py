"""Fixtures of the gateway's tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, DummyCookieJar
from ams_gateway.descriptors import raise_limit
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, serve_merchant
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway, settings_for
from ams_gateway.testing.websockets import Talker, serve_talker
from ams_local import tools
from redis.asyncio import Redis


@pytest.fixture(scope="session", autouse=True)
def _many_descriptors() -> None:
    """Consumers, gateway and merchants are this one process."""
    raise_limit()


@pytest.fixture
async def merchant() -> AsyncIterator[Merchant]:
    async with serve_merchant() as merchant:
        yield merchant


@pytest.fixture
async def talker() -> AsyncIterator[Talker]:
    async with serve_talker() as talker:
        yield talker


@pytest.fixture(params=[True, False], ids=["consume-protocol", "asgi"])
def settings(
    request: pytest.FixtureRequest, redis_url: str, kafka_bootstrap: str, tmp_path: Path
) -> Settings:
    """For each entry: whatever holds for one must hold for the other."""
    return settings_for(redis_url, kafka_bootstrap, tmp_path / "journal", consume_protocol=request.param)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Running]:
    async with serve_gateway(settings) as running:
        yield running


@pytest.fixture
async def granted(redis: "Redis", merchant: Merchant) -> GrantedKey:
    return await GrantedKey(redis, merchant.url("/base")).write()


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar(), auto_decompress=False) as session:
        yield session


Curl = Callable[..., Awaitable[str]]


@pytest.fixture
def curl() -> Curl:
    """`await curl("-L", url)`: what it prints. An answer that isn't a success is no error of curl's."""

    async def run(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            tools.find("curl"), "--silent", "--show-error", *words, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        return printed.decode()

    return run
