"""A list is asked for when there is something new in it, and when nobody can say whether there is."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from ams.identity.v1.identity_service_pb2 import Revisions as Said
from ams_common import revisions as module
from ams_common.errors import UnavailableError
from ams_common.revisions import Revisions
from ams_common.server import cancel
from ams_common.testing.eventually import eventually


@dataclass
class Lists:
    """What would be identity-svc's: it says `said`, or nothing while that is None."""

    said: Said | None = field(default_factory=Said)
    asked: Counter[str] = field(default_factory=Counter)

    async def revisions(self) -> Said:
        if self.said is None:
            raise UnavailableError("service_unavailable", "identity-svc is away.")
        copied = Said()
        copied.CopyFrom(self.said)
        return copied

    def asking(self, name: str) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            self.asked[name] += 1

        return ask

    async def were_asked(self, name: str, times: int) -> None:
        """Waits until the list was asked for so often."""

        async def check() -> bool:
            return self.asked[name] >= times

        await eventually(check)


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Lists:
    monkeypatch.setattr(module, "_EVERY_S", 0.01)
    return Lists()


@asynccontextmanager
async def following(
    revisions: Revisions, **catching_up: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Each list is followed meanwhile."""
    running = [
        asyncio.create_task(revisions.follow(name, name, catch_up)) for name, catch_up in catching_up.items()
    ]
    running.append(asyncio.create_task(revisions.run()))
    try:
        yield
        assert not any(task.done() for task in running)
    finally:
        await cancel(running)
        await asyncio.gather(*running, return_exceptions=True)


async def test_a_list_is_asked_for_once_and_then_only_when_it_has_changed(lists: Lists) -> None:
    revisions = Revisions(lists.revisions)
    names = ("token_ends", "standings", "projects")
    async with following(revisions, **{name: lists.asking(name) for name in names}):
        for name in names:
            await lists.were_asked(name, 1)
        assert lists.said is not None
        # Also to a lower one, as after a restore.
        for times, revision in ((2, 7), (3, 12), (4, 3)):
            lists.said.standings = revision
            await lists.were_asked("standings", times)
        lists.said.token_ends = 1
        await lists.were_asked("token_ends", 2)
    assert lists.asked == {"token_ends": 2, "standings": 4, "projects": 1}


async def test_while_nobody_says_what_has_changed_each_list_is_asked_for(lists: Lists) -> None:
    lists.said = None
    async with following(Revisions(lists.revisions), standings=lists.asking("standings")):
        await lists.were_asked("standings", 3)
        lists.said = Said(standings=5)
        await lists.were_asked("standings", lists.asked["standings"] + 1)


async def test_what_could_not_be_had_is_asked_for_again_though_nothing_has_changed(lists: Lists) -> None:
    async def refused_twice() -> None:
        lists.asked["standings"] += 1
        if lists.asked["standings"] < 3:
            raise UnavailableError("service_unavailable", "identity-svc is away.")

    async with following(
        Revisions(lists.revisions), standings=refused_twice, projects=lists.asking("projects")
    ):
        await lists.were_asked("standings", 3)
        assert lists.asked["projects"] == 1


async def test_what_changes_while_a_list_is_read_is_asked_for_next(lists: Lists) -> None:
    started, go_on, revisions = asyncio.Event(), asyncio.Event(), Revisions(lists.revisions)

    async def slow() -> None:
        lists.asked["standings"] += 1
        started.set()
        await go_on.wait()

    async with following(revisions, standings=slow):
        await started.wait()
        assert lists.said is not None
        lists.said.standings = 1
        await revisions.ask()
        go_on.set()
        await lists.were_asked("standings", 2)
