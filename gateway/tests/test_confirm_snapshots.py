"""What the cache holds is confirmed with its owner, so that no lost invalidation keeps old truth in force."""

import asyncio
import contextlib
from collections.abc import Mapping

import pytest
from ams_common.testing.eventually import eventually
from ams_gateway.access.confirmations import Backoff, Confirmations
from ams_gateway.access.snapshot_cache import Loaded, SnapshotCache, SourceDownError
from ams_gateway.access.snapshot_table import CacheLimits
from hypothesis import given
from hypothesis import strategies as st

LIMITS = CacheLimits(confirm_s=25.0, max_stale_s=600.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class FakeSource:
    """An owner and copies, each of which may be away. Values are "<text>@<version>"."""

    def __init__(self) -> None:
        self.copies: dict[str, bytes] = {}
        self.owned: dict[str, bytes] = {}
        self.is_owner_down = self.are_copies_down = False
        self.checked: list[dict[str, int]] = []
        self.compared: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, name: str) -> Loaded:
        if not self.are_copies_down and name in self.copies:
            return Loaded(self.copies[name], is_by_owner=False)
        return Loaded(await self.load_from_owner(name), is_by_owner=True)

    async def load_from_owner(self, name: str) -> bytes | None:
        if self.is_owner_down:
            raise SourceDownError
        return self.owned.get(name)

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        self.checked.append(dict(held))
        if self.is_owner_down:
            raise SourceDownError
        answer = {
            name: self.owned.get(name)
            for name, version in held.items()
            if name not in self.owned or version_of(self.owned[name].decode()) != version
        }
        await self.gate.wait()
        return answer

    async def read_copies(self, names: list[str]) -> dict[str, bytes]:
        self.compared.append(names)
        if self.are_copies_down:
            raise SourceDownError
        return {name: self.copies[name] for name in names if name in self.copies}

    async def close(self) -> None:
        """It offers nothing by itself."""

    def offer(self, name: str, data: bytes, version: int) -> None:
        pass


def version_of(value: str) -> int:
    return int(value.rpartition("@")[2])


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(source: FakeSource, clock: Clock) -> SnapshotCache[str]:
    cache = SnapshotCache(source, bytes.decode, LIMITS, version_of=version_of, clock=clock)
    cache.set_connected(True)
    clock.now_s += 1
    return cache


@pytest.fixture
def confirmations(cache: SnapshotCache[str], source: FakeSource, clock: Clock) -> Confirmations:
    return Confirmations(cache, source, clock=clock)


def held(cache: SnapshotCache[str], name: str) -> str | None:
    entry = cache.get_cached(name)
    return entry.value if entry is not None else None


async def test_a_lost_invalidation_takes_effect_with_the_next_confirmation(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.owned["a"] = b"active@1"
    await cache.get("a")
    source.owned["a"] = b"revoked@2"
    await confirmations.confirm_due()
    assert held(cache, "a") == "active@1"
    clock.now_s += LIMITS.confirm_s
    await confirmations.confirm_due()
    assert held(cache, "a") == "revoked@2"


async def test_what_a_copy_said_is_used_at_once_and_confirmed_with_the_next_batch(
    cache: SnapshotCache[str], source: FakeSource, confirmations: Confirmations
) -> None:
    """A gateway started anew beside a Redis that was restored from an older copy."""
    source.copies["a"], source.owned["a"] = b"active@1", b"revoked@2"
    assert await cache.get("a") == "active@1"
    await confirmations.confirm_due()
    assert held(cache, "a") == "revoked@2"


async def test_what_was_confirmed_isnt_asked_for_again_before_its_time(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.copies["a"] = source.owned["a"] = b"active@1"
    await cache.get("a")
    await confirmations.confirm_due()
    clock.now_s += LIMITS.confirm_s - 0.1
    await confirmations.confirm_due()
    assert source.checked == [{"a": 1}]
    clock.now_s += 0.1
    await confirmations.confirm_due()
    assert source.checked == [{"a": 1}] * 2


async def test_an_entry_that_nobody_uses_is_confirmed_too_until_it_is_dropped(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    """Otherwise a key that is used once an hour would open what was closed an hour ago."""
    source.owned["a"] = b"active@1"
    await cache.get("a")
    clock.now_s += 100
    source.owned["a"] = b"revoked@2"
    await confirmations.confirm_due()
    assert held(cache, "a") == "revoked@2"
    clock.now_s += LIMITS.max_stale_s + 1
    await confirmations.confirm_due()
    assert len(cache) == 0
    assert len(source.checked) == 1


async def test_an_older_version_never_replaces_a_newer_one_whoever_says_so(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.owned["a"] = b"revoked@5"
    await cache.get("a")
    source.owned["a"] = source.copies["a"] = b"active@4"
    clock.now_s += LIMITS.confirm_s
    await confirmations.confirm_due()
    assert held(cache, "a") == "revoked@5"
    source.is_owner_down = True
    clock.now_s += LIMITS.confirm_s
    await confirmations.confirm_due()
    assert source.compared == [["a"]]
    assert held(cache, "a") == "revoked@5"


async def test_what_the_owner_doesnt_know_any_more_is_not_found_whatever_copies_say(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.copies["a"] = b"active@1"
    assert await cache.get("a") == "active@1"
    await confirmations.confirm_due()
    entry = cache.get_cached("a")
    assert entry is not None
    assert entry.value is None
    clock.now_s += LIMITS.missing_s + 1
    assert await cache.get("a") is None
    source.is_owner_down = True
    clock.now_s += LIMITS.missing_s + 1
    with pytest.raises(SourceDownError):
        await cache.get("a")


@pytest.mark.parametrize("connected", [True, False])
async def test_after_a_gap_in_receiving_all_stays_in_use_and_is_confirmed_at_once(
    cache: SnapshotCache[str],
    source: FakeSource,
    clock: Clock,
    confirmations: Confirmations,
    connected: bool,
) -> None:
    source.owned |= {"a": b"active@1", "b": b"active@1"}
    await cache.get("a")
    await cache.get("b")
    source.owned["a"] = b"revoked@2"
    clock.now_s += 1
    cache.set_connected(connected)
    assert held(cache, "a") == "active@1"
    await confirmations.confirm_due()
    assert source.checked == [{"a": 1, "b": 1}]
    assert (held(cache, "a"), held(cache, "b")) == ("revoked@2", "active@1")


async def test_while_the_owner_is_away_the_copies_are_asked(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.owned |= {"a": b"active@1", "b": b"active@1"}
    await cache.get("a")
    await cache.get("b")
    source.is_owner_down = True
    source.copies["a"] = b"revoked@2"
    clock.now_s += LIMITS.confirm_s
    await confirmations.confirm_due()
    assert (held(cache, "a"), held(cache, "b")) == ("revoked@2", "active@1")


async def test_with_both_away_all_is_served_up_to_its_bound_and_confirmed_within_a_minute_of_a_return(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.owned["a"] = b"active@1"
    await cache.get("a")
    source.is_owner_down = source.are_copies_down = True
    for _ in range(59):
        clock.now_s += 10
        await confirmations.confirm_due()
        assert held(cache, "a") == "active@1"
    source.owned["a"], source.is_owner_down = b"revoked@2", False
    for _ in range(30):
        clock.now_s += 1
        await confirmations.confirm_due()
    assert held(cache, "a") == "revoked@2"


async def test_a_copy_that_says_the_same_keeps_an_entry_alive_and_a_missing_one_doesnt(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.owned |= {"a": b"active@1", "b": b"active@1"}
    await cache.get("a")
    await cache.get("b")
    source.copies["a"] = b"active@1"
    source.is_owner_down = True
    for _ in range(70):
        clock.now_s += 10
        assert held(cache, "a") == "active@1"
        held(cache, "b")
        await confirmations.confirm_due()
    assert held(cache, "b") is None


async def test_who_is_away_is_asked_less_and_less_often(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.owned["a"] = b"active@1"
    await cache.get("a")
    source.is_owner_down = source.are_copies_down = True
    clock.now_s += LIMITS.confirm_s
    for _ in range(600):
        await confirmations.confirm_due()
        clock.now_s += 0.1
    assert len(source.checked) <= 8
    assert len(source.compared) <= 8


async def test_batches_have_at_most_500_names_and_leave_nobody_out(
    cache: SnapshotCache[str], source: FakeSource, confirmations: Confirmations
) -> None:
    names = [str(number) for number in range(1234)]
    source.owned |= dict.fromkeys(names, b"active@1")
    source.copies |= dict.fromkeys(names, b"active@1")
    for name in names:
        await cache.get(name)
    await confirmations.confirm_due()
    assert max(map(len, source.checked)) <= 500
    assert sorted(name for batch in source.checked for name in batch) == sorted(names)


async def test_an_invalidation_while_the_owner_is_being_asked_isnt_undone_by_its_answer(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.owned["a"] = b"active@1"
    await cache.get("a")
    clock.now_s += LIMITS.confirm_s
    source.gate.clear()
    confirming = asyncio.create_task(confirmations.confirm_due())
    while not source.checked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    source.owned["a"] = b"revoked@2"
    cache.invalidate("a")
    source.gate.set()
    await confirming
    assert cache.get_cached("a") is None
    assert await cache.get("a") == "revoked@2"


async def test_a_request_doesnt_wait_while_the_owner_hangs(
    cache: SnapshotCache[str], source: FakeSource, clock: Clock, confirmations: Confirmations
) -> None:
    source.owned["a"] = b"active@1"
    await cache.get("a")
    clock.now_s += LIMITS.confirm_s
    source.gate.clear()
    confirming = asyncio.create_task(confirmations.confirm_due())
    while not source.checked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert held(cache, "a") == "active@1"
    source.gate.set()
    await confirming


async def test_a_fault_doesnt_end_the_confirming(
    source: FakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    cache = SnapshotCache(source, bytes.decode, LIMITS, version_of=version_of)
    source.copies["a"] = source.owned["a"] = b"active@1"
    await cache.get("a")
    source.owned["a"] = b"no version"
    confirmations = Confirmations(cache, source)
    await confirmations.open()

    async def is_logged() -> bool:
        return "could not be confirmed" in caplog.text

    await eventually(is_logged)
    source.owned["a"] = b"revoked@2"

    async def is_confirmed() -> bool:
        return held(cache, "a") == "revoked@2"

    await eventually(is_confirmed)
    await confirmations.close()


STEPS = st.sampled_from(
    ["change", "restore", "silent", "invalidate", "gap", "ask", "confirm", "wait", "owner", "copies"]
)


@given(st.lists(STEPS, max_size=60))
def test_whatever_happens_old_truth_never_follows_new_and_the_owners_word_counts_in_the_end(
    steps: list[str],
) -> None:
    asyncio.run(_happens(steps))


async def _happens(steps: list[str]) -> None:
    source, clock = FakeSource(), Clock()
    cache = SnapshotCache(source, bytes.decode, LIMITS, version_of=version_of, clock=clock)
    version, seen, backups = 1, 0, [b"at@1"]
    source.owned["a"] = source.copies["a"] = b"at@1"
    for number, step in enumerate(steps):
        clock.now_s += 0.001
        if step in ("change", "silent"):
            version += 1
            source.owned["a"] = b"at@%d" % version
            if step == "change":
                # As an owner writes through and announces it; "silent": Redis took neither.
                source.copies["a"] = source.owned["a"]
                backups.append(source.owned["a"])
                cache.invalidate("a")
        elif step == "restore":
            source.copies["a"] = backups[number % len(backups)]
        elif step == "invalidate":
            cache.invalidate("a")
        elif step == "gap":
            cache.set_connected(number % 2 == 0)
        elif step == "ask":
            with contextlib.suppress(SourceDownError):
                await cache.get("a")
        elif step == "confirm":
            await Confirmations(cache, source, clock=clock).confirm_due()
        elif step == "wait":
            clock.now_s += 20
        elif step == "owner":
            source.is_owner_down = not source.is_owner_down
        else:
            source.are_copies_down = not source.are_copies_down
        entry = cache.get_cached("a")
        if entry is not None:
            assert entry.value is not None
            assert entry.version >= seen
            seen = entry.version
    source.is_owner_down = False
    clock.now_s += LIMITS.confirm_s
    await Confirmations(cache, source, clock=clock).confirm_due()
    entry = cache.get_cached("a")
    assert entry is None or entry.version == version


@given(st.integers(1, 30))
def test_a_backoff_doubles_up_to_its_bound_and_ends_with_a_success(failures: int) -> None:
    backoff, now_s = Backoff(max_s=16.0), 0.0
    for number in range(failures):
        assert backoff.is_over(now_s)
        backoff.failed(now_s)
        pause_s = min(2.0**number, 16.0)
        assert not backoff.is_over(now_s + pause_s - 0.01)
        now_s += pause_s
    assert backoff.is_over(now_s)
    backoff.failed(now_s)
    backoff.succeeded()
    assert backoff.is_over(now_s)
