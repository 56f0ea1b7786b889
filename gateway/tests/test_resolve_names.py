"""What is known of a name is used at once, and a name that can't be looked up holds up nobody else."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ams_common.testing.eventually import eventually
from ams_gateway.upstream.lookup_slots import LookupLimits, LookupShares
from ams_gateway.upstream.resolver import (
    AddressForbiddenError,
    AddressUnknownError,
    Resolver,
    ResolverLimits,
)
from hypothesis import given
from hypothesis import strategies as st


class Names:
    """A name server: `dead` names aren't answered until the test ends."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.is_ended = threading.Event()
        self.under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    def look_up(self, host: str) -> list[str]:
        with self._lock:
            self.asked[host] += 1
            self.under_way[host.partition(".")[2]] += 1
        if host.endswith("dead"):
            self.is_ended.wait(60)
        if host not in self.known:
            raise OSError(host)
        return self.known[host]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


LIMITS = ResolverLimits(ttl_s=30, stale_s=120, max_stale_s=600, timeout_s=0.1, negative_s=5)


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.is_ended.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resolver(names: Names, clock: Clock) -> Resolver:
    limits = ResolverLimits(timeout_s=10)
    return Resolver(allow_private=False, look_up=names.look_up, limits=limits, clock=clock)


async def test_askers_of_one_name_cause_one_look_up(resolver: Resolver, names: Names) -> None:
    names.known["a.example"] = ["8.8.8.8"]
    assert await asyncio.gather(*(resolver.resolve("a.example") for _ in range(50))) == [["8.8.8.8"]] * 50
    assert names.asked["a.example"] == 1


async def test_an_asker_who_gives_up_takes_nobody_along(resolver: Resolver, names: Names) -> None:
    names.known["a.example"] = ["8.8.8.8"]
    first = asyncio.create_task(resolver.resolve("a.example"))
    second = asyncio.create_task(resolver.resolve("a.example"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ["8.8.8.8"]


async def test_addresses_past_their_time_are_used_while_they_are_looked_up_anew(
    resolver: Resolver, names: Names, clock: Clock
) -> None:
    names.known["a.example"] = ["8.8.8.8"]
    await resolver.resolve("a.example")
    names.known["a.example"] = ["1.1.1.1"]
    clock.now_s += 31
    assert resolver.cached("a.example") == ["8.8.8.8"]

    async def is_new() -> bool:
        return resolver.cached("a.example") == ["1.1.1.1"]

    await eventually(is_new)
    assert names.asked["a.example"] == 2


async def test_addresses_long_past_their_time_are_looked_up_before_use(
    resolver: Resolver, names: Names, clock: Clock
) -> None:
    names.known["a.example"] = ["8.8.8.8"]
    await resolver.resolve("a.example")
    names.known["a.example"] = ["1.1.1.1"]
    clock.now_s += 121
    assert resolver.cached("a.example") is None
    assert await resolver.resolve("a.example") == ["1.1.1.1"]


async def test_a_name_that_turns_to_the_inside_is_forbidden_from_then_on(
    resolver: Resolver, names: Names, clock: Clock
) -> None:
    names.known["a.example"] = ["8.8.8.8"]
    await resolver.resolve("a.example")
    names.known["a.example"] = ["10.0.0.1"]
    clock.now_s += 121
    for _ in range(3):
        with pytest.raises(AddressForbiddenError):
            await resolver.resolve("a.example")
        assert resolver.cached("a.example") is None
    assert names.asked["a.example"] == 2


async def test_what_cant_be_looked_up_is_remembered_for_a_moment(
    resolver: Resolver, names: Names, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(AddressUnknownError):
            await resolver.resolve("a.example")
    assert names.asked["a.example"] == 1
    clock.now_s += 6
    names.known["a.example"] = ["8.8.8.8"]
    assert await resolver.resolve("a.example") == ["8.8.8.8"]


async def test_known_addresses_outlast_their_name_server_for_a_bounded_time(
    resolver: Resolver, names: Names, clock: Clock
) -> None:
    names.known["a.example"] = ["8.8.8.8"]
    await resolver.resolve("a.example")
    del names.known["a.example"]
    for _ in range(5):
        clock.now_s += 119
        assert await resolver.resolve("a.example") == ["8.8.8.8"]
        # And without a look-up for each request.
        assert resolver.cached("a.example") == ["8.8.8.8"]
    clock.now_s += 119
    with pytest.raises(AddressUnknownError):
        await resolver.resolve("a.example")


async def test_a_dead_name_is_waited_for_once_and_a_late_answer_is_used(names: Names) -> None:
    resolver = Resolver(allow_private=False, look_up=names.look_up, limits=LIMITS)
    started_s = time.monotonic()
    for _ in range(100):
        with pytest.raises(AddressUnknownError):
            await resolver.resolve("a.dead")
    # 100 waits of a tenth of a second each would be ten.
    assert time.monotonic() - started_s < 5
    assert names.asked["a.dead"] == 1
    names.known["a.dead"] = ["8.8.8.8"]
    names.is_ended.set()

    async def is_known() -> bool:
        return resolver.cached("a.dead") == ["8.8.8.8"]

    await eventually(is_known)


@pytest.mark.parametrize("owner_id", ["merchant", ""])
async def test_one_merchants_thousand_dead_names_leave_threads_to_all_others(
    names: Names, owner_id: str
) -> None:
    # Long enough for threads on a busy machine; the dead ones take all of it.
    limits = replace(LIMITS, timeout_s=3)
    resolver = Resolver(allow_private=False, look_up=names.look_up, limits=limits)
    names.known |= {f"api.{number}.example": ["8.8.8.8"] for number in range(100)}
    dead = asyncio.gather(
        *(resolver.resolve(f"{number}.of.dead", owner_id) for number in range(1000)), return_exceptions=True
    )
    await asyncio.sleep(0)
    good = await asyncio.gather(
        *(resolver.resolve(f"api.{number}.example", f"merchant-{number}") for number in range(30))
    )
    assert good == [["8.8.8.8"]] * 30
    assert all(isinstance(answer, AddressUnknownError) for answer in await dead)
    assert names.under_way["of.dead"] == LookupLimits().max_per_owner


async def test_an_address_needs_no_look_up(resolver: Resolver, names: Names) -> None:
    assert await resolver.resolve("8.8.8.8") == ["8.8.8.8"]
    with pytest.raises(AddressForbiddenError):
        await resolver.resolve("127.0.0.1")
    assert not names.asked


LOOKUPS = LookupLimits(max_lookups=8, max_per_owner=2, max_slow=3, slow_after_s=1.0, slow_for_s=60.0)


def test_slow_owners_together_have_their_share_and_no_more() -> None:
    shares = LookupShares(LOOKUPS)
    for number in range(4):
        shares.end(shares.start(f"slow-{number}", 0.0), 10.0)
    for number in range(3):
        assert shares.admits(f"slow-{number}", 10.0)
        shares.start(f"slow-{number}", 10.0)
    assert not shares.admits("slow-3", 10.0)
    assert shares.admits("good", 10.0)


def test_a_slow_owner_is_as_good_as_others_after_a_while() -> None:
    shares = LookupShares(LOOKUPS)
    for number in range(3):
        shares.end(shares.start(f"slow-{number}", 0.0), 10.0)
        shares.start(f"slow-{number}", 10.0)
    shares.end(shares.start("better", 0.0), 10.0)
    assert not shares.admits("better", 69.9)
    assert shares.admits("better", 70.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0.0, 3.0), st.booleans()), max_size=200))
def test_shares_hold_whatever_comes(steps: list[tuple[int, float, bool]]) -> None:
    shares, now_s = LookupShares(LOOKUPS), 0.0
    running: list[tuple[int, str]] = []
    for owner, pause_s, ends in steps:
        now_s += pause_s
        if ends and running:
            shares.end(running.pop(0)[0], now_s)
        elif shares.admits(str(owner), now_s):
            running.append((shares.start(str(owner), now_s), str(owner)))
        by_owner = Counter(owner_id for _, owner_id in running)
        assert len(running) <= LOOKUPS.max_lookups
        assert max(by_owner.values(), default=0) <= LOOKUPS.max_per_owner
    for number, _ in running:
        shares.end(number, now_s)
    assert all(shares.admits(str(owner), now_s) for owner in range(10))
