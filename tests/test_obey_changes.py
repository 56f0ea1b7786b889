"""A small run of `make prove-changes`: gateways obey each change soon, and within a minute when the write to
Redis is dropped on purpose. How soon is measured where nothing else runs."""

import argparse

from support.running_system import RunningSystem

from loadtests.proofs.changes import prove


async def test_gateways_obey_each_change(system: RunningSystem) -> None:
    options = argparse.Namespace(changes=2, dropped=0, bound=15.0, rate=30, only="")
    assert await prove(system, options) == []


async def test_a_write_that_redis_has_lost_is_made_good(system: RunningSystem) -> None:
    options = argparse.Namespace(changes=1, dropped=1, bound=15.0, rate=30, only="grant,service")
    assert await prove(system, options) == []
