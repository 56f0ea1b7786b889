"""What stays is looked through once, and what goes leaves nothing that would have to be looked for."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType

import pytest
from ams_common.testing.eventually import eventually
from ams_gateway.tasks import end_task
from ams_gateway.testing.consumers import connect, head
from ams_gateway.testing.merchants import Merchant, never_answer
from ams_gateway.testing.running import GrantedKey, Running
from ams_gateway.worker import look_through_what_stayed, spare_what_stays


@pytest.fixture
def collector() -> Iterator[None]:
    """As a worker's, until the test's end."""
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    spare_what_stays()
    yield
    gc.set_threshold(*thresholds)
    gc.callbacks[:] = callbacks
    gc.unfreeze()


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """Whatever only the collector frees, kept in this list instead."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()


class Node:
    def __init__(self) -> None:
        self.itself = self


def is_ours(each: object) -> bool:
    """An instance of our classes, one of our functions, or what one of them was doing."""
    module = each.f_globals["__name__"] if isinstance(each, FrameType) else getattr(each, "__module__", "")
    return str(module).startswith("ams_gateway.")


def is_under_way(gateway: Running, count: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return gateway.runtime.gateway.in_flight == count

    return check


@pytest.mark.usefixtures("collector")
def test_however_much_stays_little_is_looked_through_at_once() -> None:
    stays = [[number] for number in range(500_000)]
    assert sum(len(gc.get_objects(generation)) for generation in range(3)) < 100_000
    assert len(stays) == 500_000


@pytest.mark.usefixtures("collector")
def test_cycles_among_what_is_new_are_collected() -> None:
    nodes = [weakref.ref(Node()) for _ in range(200_000)]
    assert sum(node() is not None for node in nodes) < 100_000


@pytest.mark.usefixtures("collector")
async def test_what_stayed_and_became_garbage_is_found_once_it_has_doubled() -> None:
    looking = asyncio.create_task(look_through_what_stayed(every_s=0.01, least=1000))
    await asyncio.sleep(0)
    nodes = [Node() for _ in range(gc.get_freeze_count() + 50_000)]
    seen = [weakref.ref(node) for node in nodes]
    gc.freeze()
    nodes.clear()

    async def is_collected() -> bool:
        return all(node() is None for node in seen)

    await eventually(is_collected)
    await end_task(looking)


async def test_calls_and_connections_leave_no_cycles(
    gateway: Running, granted: GrantedKey, merchant: Merchant, garbage: list[object]
) -> None:
    unknown = GrantedKey(granted.redis, granted.base_url)
    for _ in range(3):
        async with connect(gateway) as consumer:
            for key in (granted, granted, unknown):
                consumer.send(head(key, "Content-Length: 2"), b"{}")
                await consumer.answer()
    merchant.answer = never_answer
    async with connect(gateway) as consumer:
        consumer.send(head(granted, "Content-Length: 2"), b"{}")
        await eventually(is_under_way(gateway, 1))
    await eventually(is_under_way(gateway, 0))
    gc.collect()
    assert [each for each in garbage if is_ours(each)] == []
