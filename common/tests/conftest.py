from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from ams_common.ports import free_port
from ams_common.testing.plugin import Schema
from ams_local.redis import Redis as Server
from redis.asyncio import Redis


@pytest.fixture(scope="session")
def schema() -> Schema:
    """A schema with nothing but the common tables."""
    return Schema("common_test", "ams_common")


@pytest.fixture
def own_redis_url(tmp_path: Path) -> Iterator[str]:
    """A server that is this test's alone, to be filled or made to refuse."""
    server = Server(tmp_path, free_port(), throwaway=True)
    server.launch()
    yield server.wait()
    server.stop()


@pytest.fixture
async def own_redis(own_redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_redis_url) as client:
        yield client
