"""How long after a call the pages show what it costs: `make bench-live`.

    PYTHONPATH=tests python loadtests/bench/live.py [--calls N]

The whole system, and a consumer and a merchant who look at their pages in Chromium. The clock starts when a
call is sent, and stops for each place on the pages when the amount there is another one. Aimed at: 2 s.
"""

import argparse
import asyncio
import os
import random
import secrets
import statistics
import time

import aiohttp
from playwright.async_api import Locator
from support.chromium import chromium
from support.live_amounts import PLACES, LiveAmounts, Place, open_live_amounts
from support.running_system import RunningSystem, running
from support.upstream_api import serving

_AIM_S = 2.0
_MOST_MS = 30_000
_LOOK_EVERY_MS = 20
_HAS_CHANGED = "([selector, before]) => document.querySelector(selector)?.textContent !== before"


async def time_of_change(place: Place, shown: Locator, before: str | None) -> tuple[Place, float]:
    """When its amount is another one."""
    await shown.page.wait_for_function(
        _HAS_CHANGED, arg=[place.selector, before], polling=_LOOK_EVERY_MS, timeout=_MOST_MS
    )
    return place, time.monotonic()


async def measure(amounts: LiveAmounts, calls: int) -> dict[Place, list[float]]:
    """In seconds, for each place and call."""
    times_s: dict[Place, list[float]] = {place: [] for place in PLACES}
    for _ in range(calls):
        # Not in step with who looks every second.
        await asyncio.sleep(random.uniform(3, 4))
        before = {place: await shown.text_content() for place, shown in amounts.places.items()}
        waiting = [
            asyncio.create_task(time_of_change(place, shown, before[place]))
            for place, shown in amounts.places.items()
        ]
        sent_s = time.monotonic()
        if not await amounts.call():
            raise SystemExit("a call was refused")
        for place, changed_s in await asyncio.gather(*waiting):
            times_s[place].append(changed_s - sent_s)
    return times_s


def report(times_s: dict[Place, list[float]]) -> bool:
    """Prints a line for each place. Whether all are within the aim."""
    is_reached = True
    print(f"{'':32}{'median':>8}{'p95':>8}{'most':>8}   s")
    for place, taken_s in times_s.items():
        p95_s = statistics.quantiles(taken_s, n=20, method="inclusive")[-1]
        is_late = p95_s > _AIM_S
        is_reached &= not is_late
        mark = "   MISSED" if is_late else ""
        print(f"{place.name:32}{statistics.median(taken_s):8.2f}{p95_s:8.2f}{max(taken_s):8.2f}{mark}")
    print(f"aim: p95 within {_AIM_S:.0f} s of sending a call: {'reached' if is_reached else 'MISSED'}")
    return is_reached


async def run(system: RunningSystem, calls: int) -> bool:
    async with (
        aiohttp.ClientSession() as http,
        serving() as upstream,
        chromium() as browser,
        open_live_amounts(browser, system, http, upstream.base_url, secrets.token_hex(4)) as amounts,
    ):
        return report(await measure(amounts, calls))


def main() -> None:
    """Measures on the servers that the environment names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=30)
    arguments = parser.parse_args()
    database, redis, kafka = (
        os.environ[name] for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS")
    )
    with running(database, redis, kafka) as system:
        # As in production: tests let live pages look more often.
        system.restart("ams-bff", BFF_LIVE_BEAT_S="5")
        is_reached = asyncio.run(run(system, arguments.calls))
    raise SystemExit(not is_reached)


if __name__ == "__main__":
    main()
