"""The in-process cache in front of Redis and gRPC."""

import asyncio
from collections import Counter

import pytest
from ams_common.testing.eventually import eventually
from ams_gateway.access.snapshot_cache import CacheLimits, SnapshotCache, SourceDownError


class FakeSource:
    """A source that can be slow, empty or gone."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.loads: Counter[str] = Counter()
        self.is_down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, name: str) -> bytes | None:
        self.loads[name] += 1
        data, is_down = self.data.get(name), self.is_down
        await self.gate.wait()
        if is_down:
            raise SourceDownError
        return data


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


LIMITS = CacheLimits(max_entries=3, max_missing=2, max_stale_s=600)


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(source: FakeSource, clock: Clock) -> SnapshotCache[str]:
    def names(value: str) -> tuple[str, ...]:
        return tuple(f"service:{name}" for name in value.split("=")[0].split("/"))

    cache = SnapshotCache(source, bytes.decode, LIMITS, other_names=names, clock=clock)
    cache.set_connected(True)
    return cache


async def test_many_askers_cause_one_load(cache: SnapshotCache[str], source: FakeSource) -> None:
    source.data["a"] = b"1"
    source.gate.clear()
    asking = asyncio.gather(*(cache.get("a") for _ in range(50)))
    await asyncio.sleep(0)
    source.gate.set()
    assert await asking == ["1"] * 50
    assert source.loads["a"] == 1


async def test_an_asker_who_gives_up_takes_nobody_along(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.data["a"] = b"1"
    source.gate.clear()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    source.gate.set()
    assert await second == "1"


async def test_not_found_is_cached_too_but_not_for_long(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock
) -> None:
    assert [await cache.get("a"), await cache.get("a")] == [None, None]
    assert source.loads["a"] == 1
    clock.now_s += LIMITS.missing_s + 1
    source.data["a"] = b"1"
    assert await cache.get("a") == "1"


async def test_the_cache_is_bounded_and_the_unknown_pushes_nothing_out(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.data |= {"a": b"1", "b": b"2"}
    assert [await cache.get("a"), await cache.get("b")] == ["1", "2"]
    for number in range(100):
        await cache.get(f"made-up-{number}")
    assert len(cache) == 4
    source.data |= {str(number): b"x" for number in range(10)}
    for number in range(10):
        await cache.get(str(number))
    assert len(cache) <= 5
    assert source.loads["a"] == 1


async def test_what_has_gone_stale_is_served_while_it_is_loaded_anew(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock
) -> None:
    source.data["a"] = b"old"
    await cache.get("a")
    clock.now_s += LIMITS.fresh_s + 1
    source.data["a"] = b"new"
    assert await cache.get("a") == "old"

    async def renewed() -> bool:
        return await cache.get("a") == "new"

    await eventually(renewed)
    assert source.loads["a"] == 2


async def test_an_invalidation_drops_the_entry(cache: SnapshotCache[str], source: FakeSource) -> None:
    source.data["a"] = b"old"
    await cache.get("a")
    source.data["a"] = b"new"
    cache.invalidate("a")
    assert cache.get_cached("a") is None
    assert await cache.get("a") == "new"


async def test_an_invalidation_of_one_name_drops_the_value_under_all_its_names(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.data |= {"service:id": b"id/slug=1", "service:slug": b"id/slug=1"}
    await cache.get("service:slug")
    cache.invalidate("service:id")
    assert cache.get_cached("service:slug") is None
    await cache.get("service:slug")
    await cache.get("service:id")
    cache.invalidate("service:slug")
    assert cache.get_cached("service:id") is None


async def test_a_load_with_an_invalidation_meanwhile_is_not_kept(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.data["a"] = b"old"
    source.gate.clear()
    before = asyncio.create_task(cache.get("a"))
    while not source.loads["a"]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    source.data["a"] = b"new"
    cache.invalidate("a")
    after = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    source.gate.set()
    assert await before == "old"
    assert await after == "new"
    assert await cache.get("a") == "new"


async def test_after_a_gap_in_receiving_all_is_loaded_anew_before_use(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.data["a"] = b"old"
    await cache.get("a")
    cache.set_connected(False)
    source.data["a"] = b"new"
    cache.set_connected(True)
    assert await cache.get("a") == "new"


async def test_while_nothing_is_received_nothing_older_than_a_moment_is_used(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock
) -> None:
    cache.set_connected(False)
    source.data["a"] = b"old"
    await cache.get("a")
    source.data["a"] = b"new"
    assert await cache.get("a") == "old"
    clock.now_s += 0.6
    assert await cache.get("a") == "new"


async def test_with_all_sources_gone_what_is_cached_serves_for_a_bounded_time(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock
) -> None:
    source.data["a"] = b"1"
    await cache.get("a")
    source.is_down = True
    cache.set_connected(False)
    for _ in range(10):
        clock.now_s += 50
        assert await cache.get("a") == "1"
    clock.now_s += 101
    with pytest.raises(SourceDownError):
        await cache.get("a")
    with pytest.raises(SourceDownError):
        await cache.get("never-seen")


async def test_while_sources_are_gone_they_are_not_asked_on_each_request(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock
) -> None:
    source.data["a"] = b"1"
    await cache.get("a")
    source.is_down = True
    cache.set_connected(False)
    for _ in range(100):
        assert await cache.get("a") == "1"
    assert source.loads["a"] == 2


async def test_what_was_invalidated_is_not_served_even_when_nobody_can_be_asked(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.data["a"] = b"1"
    await cache.get("a")
    source.is_down = True
    cache.invalidate("a")
    with pytest.raises(SourceDownError):
        await cache.get("a")
