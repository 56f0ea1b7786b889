"""A small run of `make prove-kills`: services are killed amid changes, and no change is half made."""

import argparse
from collections.abc import Iterator

import pytest
from support.running_system import RunningSystem, running

from loadtests.proofs.kills import prove


@pytest.fixture
def own_system(admin_database_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[RunningSystem]:
    with running(admin_database_url, redis_url, kafka_bootstrap) as system:
        yield system


async def test_each_change_is_whole_or_absent_whichever_service_is_killed(
    own_system: RunningSystem, kafka_bootstrap: str
) -> None:
    options = argparse.Namespace(changes=40, kills=1, seed=7)
    assert await prove(own_system, kafka_bootstrap, options) == []
