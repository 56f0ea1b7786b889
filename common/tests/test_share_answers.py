"""Live answers: who watches the same thing shares one poller."""

import asyncio

import pytest
from ams_common import live_answers as module
from ams_common.errors import ResourceExhaustedError
from ams_common.live_answers import LiveAnswers


async def test_a_hundred_watchers_of_one_question_ask_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real poller, counting what it asks."""
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        return asked // 3  # changes with every third look

    monkeypatch.setattr(module, "MOST_OF_ONE_OWNER", 100)
    live: LiveAnswers[int] = LiveAnswers(interval_s=0.02)
    streams = [live.watch("me", "it", ask) for _ in range(100)]
    firsts = await asyncio.gather(*(anext(stream) for stream in streams))
    assert set(firsts) == {0}
    seconds = await asyncio.gather(*(anext(stream) for stream in streams))
    assert asked < 20 and set(seconds) <= set(range(1, 7))
    for stream in streams:
        await stream.aclose()
    was = asked
    await asyncio.sleep(0.1)
    assert asked == was, "nobody watches, so nobody asks"


async def test_watchers_are_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE_OWNER", 2)
    monkeypatch.setattr(module, "MOST_WATCHERS", 3)

    async def ask() -> int:
        return 1

    live: LiveAnswers[int] = LiveAnswers()
    mine = [live.watch("me", number, ask) for number in range(3)]
    others = [live.watch(number, "it", ask) for number in range(2)]
    for stream in (*mine[:2], others[0]):
        await anext(stream)
    for stream in (mine[2], others[1]):
        with pytest.raises(ResourceExhaustedError):
            await anext(stream)
    await mine[0].aclose()
    late = live.watch("me", "late", ask)
    assert await anext(late) == 1
    for stream in (mine[1], others[0], late):
        await stream.aclose()


async def test_who_fails_tells_all_watchers_and_the_next_one_asks_anew() -> None:
    is_broken = True

    async def ask() -> int:
        if is_broken:
            raise ZeroDivisionError
        return 1

    live: LiveAnswers[int] = LiveAnswers(interval_s=0.01)
    streams = [live.watch("me", "it", ask) for _ in range(3)]
    results = await asyncio.gather(*(anext(stream) for stream in streams), return_exceptions=True)
    assert all(isinstance(result, ZeroDivisionError) for result in results)
    is_broken = False
    again = live.watch("me", "it", ask)
    assert await anext(again) == 1
    await again.aclose()
