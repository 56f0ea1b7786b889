"""The cache in front of Redis and gRPC: what is held never waits, what isn't waits a bounded time."""

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest
from ams_gateway.access.snapshot_cache import Loaded, SnapshotCache, SourceDownError
from ams_gateway.access.snapshot_table import CacheLimits


class FakeSource:
    """Copies and an owner that can be slow, empty or gone. Values are "<names>=<text>@<version>"."""

    def __init__(self) -> None:
        self.copies: dict[str, bytes] = {}
        self.owned: dict[str, bytes] = {}
        self.loads: Counter[str] = Counter()
        self.owner_loads: Counter[str] = Counter()
        self.offered: dict[str, int] = {}
        self.is_owner_down = False
        self.under_way = self.most_under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, name: str) -> Loaded:
        self.loads[name] += 1
        copy, owned = self.copies.get(name), self.owned.get(name)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        if copy is not None:
            return Loaded(copy, is_by_owner=False)
        if self.is_owner_down:
            raise SourceDownError
        return Loaded(owned, is_by_owner=True)

    async def load_from_owner(self, name: str) -> bytes | None:
        self.owner_loads[name] += 1
        if self.is_owner_down:
            raise SourceDownError
        return self.owned.get(name)

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        raise NotImplementedError

    async def read_copies(self, names: list[str]) -> dict[str, bytes]:
        raise NotImplementedError

    async def close(self) -> None:
        """It offers nothing by itself."""

    def offer(self, name: str, data: bytes, version: int) -> None:
        self.offered[name] = version


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


def read(data: bytes) -> str:
    text = data.decode()
    if "@" not in text:
        raise ValueError("no snapshot")
    return text


def version_of(value: str) -> int:
    return int(value.rpartition("@")[2])


def names_of(value: str) -> tuple[str, ...]:
    names = value.partition("=")[0]
    return tuple(f"service:{name}" for name in names.split("/")) if "=" in value else ()


def build(source: FakeSource, clock: Clock, limits: CacheLimits = LIMITS) -> SnapshotCache[str]:
    cache = SnapshotCache(source, read, limits, version_of=version_of, other_names=names_of, clock=clock)
    cache.set_connected(True)
    return cache


@pytest.fixture
def cache(source: FakeSource, clock: Clock) -> SnapshotCache[str]:
    return build(source, clock)


async def test_many_askers_cause_one_load(cache: SnapshotCache[str], source: FakeSource) -> None:
    source.copies["a"] = b"1@1"
    source.gate.clear()
    asking = asyncio.gather(*(cache.get("a") for _ in range(50)))
    await asyncio.sleep(0)
    source.gate.set()
    assert await asking == ["1@1"] * 50
    assert source.loads["a"] == 1


async def test_an_asker_who_gives_up_takes_nobody_along(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.copies["a"] = b"1@1"
    source.gate.clear()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    source.gate.set()
    assert await second == "1@1"


async def test_not_found_is_cached_too_but_not_for_long(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock
) -> None:
    assert [await cache.get("a"), await cache.get("a")] == [None, None]
    assert source.loads["a"] == 1
    clock.now_s += LIMITS.missing_s + 1
    source.owned["a"] = b"1@1"
    assert await cache.get("a") == "1@1"


async def test_the_cache_is_bounded_and_the_unknown_pushes_nothing_out(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.copies |= {"a": b"1@1", "b": b"2@1"}
    assert [await cache.get("a"), await cache.get("b")] == ["1@1", "2@1"]
    for number in range(100):
        await cache.get(f"made-up-{number}")
    assert len(cache) == 4
    source.copies |= {str(number): b"x@1" for number in range(10)}
    for number in range(10):
        await cache.get(str(number))
    assert len(cache) <= 5
    assert source.loads["a"] == 1


async def test_what_was_not_used_for_longest_is_pushed_out_first(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock
) -> None:
    source.owned |= dict.fromkeys("abcd", b"x@1")
    for name in "abc":
        await cache.get(name)
        clock.now_s += 1
    cache.get_cached("a")
    await cache.get("d")
    assert [cache.get_cached(name) is not None for name in "abcd"] == [True, False, True, True]


@pytest.mark.parametrize("age_s", [0.0, 0.6, 31.0, LIMITS.max_stale_s])
@pytest.mark.parametrize("connected", [True, False])
async def test_what_is_held_is_given_at_once_whatever_its_age_and_whoever_hangs(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, age_s: float, connected: bool
) -> None:
    source.copies["a"] = b"1@1"
    await cache.get("a")
    source.gate.clear()
    cache.set_connected(connected)
    clock.now_s += age_s
    entry = cache.get_cached("a")
    assert entry is not None
    assert entry.value == "1@1"
    # No turn of the event loop either: this would raise if the coroutine waited for anything.
    with pytest.raises(StopIteration) as stopped:
        cache.get("a").send(None)
    assert stopped.value.value == "1@1"
    assert source.loads["a"] == 1


async def test_nothing_is_given_past_the_bound(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock
) -> None:
    source.owned["a"] = b"1@1"
    await cache.get("a")
    clock.now_s += LIMITS.max_stale_s + 1
    source.is_owner_down = True
    assert cache.get_cached("a") is None
    with pytest.raises(SourceDownError):
        await cache.get("a")


async def test_what_isnt_held_waits_a_bounded_time_for_who_hangs(source: FakeSource, clock: Clock) -> None:
    cache = build(source, clock, CacheLimits(load_timeout_s=0.05))
    source.gate.clear()
    with pytest.raises(SourceDownError):
        await cache.get("a")
    source.gate.set()
    assert await cache.get("a") is None


async def test_loads_at_once_are_bounded_and_all_are_done(source: FakeSource, clock: Clock) -> None:
    cache = build(source, clock, CacheLimits(max_loads=4, load_timeout_s=30.0))
    source.copies |= {str(number): b"x@1" for number in range(100)}
    source.gate.clear()
    asking = asyncio.gather(*(cache.get(str(number)) for number in range(100)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert source.under_way == 4
    source.gate.set()
    assert await asking == ["x@1"] * 100
    assert source.most_under_way == 4


async def test_an_invalidation_drops_the_entry(cache: SnapshotCache[str], source: FakeSource) -> None:
    source.copies["a"] = b"old@1"
    await cache.get("a")
    source.copies["a"] = b"new@2"
    cache.invalidate("a")
    assert cache.get_cached("a") is None
    assert await cache.get("a") == "new@2"


async def test_an_invalidation_of_one_name_drops_the_value_under_all_its_names(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.copies |= {"service:id": b"id/slug=1@1", "service:slug": b"id/slug=1@1"}
    await cache.get("service:slug")
    cache.invalidate("service:id")
    assert cache.get_cached("service:slug") is None
    source.is_owner_down = True
    await cache.get("service:slug")
    await cache.get("service:id")
    cache.invalidate("service:slug")
    assert cache.get_cached("service:id") is None


async def test_a_load_with_an_invalidation_meanwhile_is_not_kept(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.copies["a"] = b"old@1"
    source.gate.clear()
    before = asyncio.create_task(cache.get("a"))
    while not source.loads["a"]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    source.copies["a"] = b"new@2"
    cache.invalidate("a")
    after = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    source.gate.set()
    assert await before == "old@1"
    assert await after == "new@2"
    assert await cache.get("a") == "new@2"


async def test_what_was_invalidated_is_not_served_even_when_nobody_can_be_asked(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.owned["a"] = b"1@1"
    await cache.get("a")
    source.is_owner_down = True
    cache.invalidate("a")
    with pytest.raises(SourceDownError):
        await cache.get("a")


async def test_a_copy_that_isnt_newer_than_what_was_invalidated_is_not_believed(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    """Redis refused the write of what the invalidation was about."""
    source.copies["a"] = b"active@4"
    await cache.get("a")
    source.owned["a"] = b"revoked@5"
    cache.invalidate("a")
    assert await cache.get("a") == "revoked@5"
    assert source.owner_loads["a"] == 1


async def test_an_invalidation_that_comes_twice_costs_nobody_their_key(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.copies["a"] = b"active@4"
    await cache.get("a")
    source.is_owner_down = True
    cache.invalidate("a")
    assert await cache.get("a") == "active@4"


async def test_a_copy_older_than_what_was_held_is_never_used(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    """Redis was restored from an older copy, and the owner is away."""
    source.copies["a"] = b"revoked@5"
    await cache.get("a")
    source.copies["a"] = b"active@4"
    source.is_owner_down = True
    cache.invalidate("a")
    with pytest.raises(SourceDownError):
        await cache.get("a")


async def test_a_copy_that_cant_be_read_is_as_none(
    cache: SnapshotCache[str], source: FakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    source.copies["a"] = b"rubbish"
    source.owned["a"] = b"1@1"
    assert await cache.get("a") == "1@1"
    assert "can't be read" in caplog.text


async def test_what_the_owner_said_is_offered_where_the_copies_are(
    cache: SnapshotCache[str], source: FakeSource
) -> None:
    source.owned["a"] = b"1@7"
    await cache.get("a")
    source.copies["b"] = b"1@7"
    await cache.get("b")
    assert source.offered == {"a": 7}
