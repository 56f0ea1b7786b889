"""`make prove-changes`: gateways obey whatever is changed within a second, within 60 if Redis loses it.

    PYTHONPATH=tests python -m loadtests.proofs.changes [--changes N] [--dropped N] [--only KIND,KIND]

The whole system is called without pause while each thing that matters to a gateway is changed there and back:
--changes times of each kind (100), measured from the change's answer to the last call that began later and
didn't obey. Then --dropped times of each kind (1) with the write to Redis dropped on purpose, by a trigger in
the owner's outbox: as if Redis had lost it. Exits with 1 when a kind's p99 is more than --bound, when a
change whose write was dropped takes more than 60 s, or when one isn't obeyed at all.
"""

import argparse
import asyncio
import contextlib
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg
from ams_common.testing.eventually import eventually
from ams_local.execution import end_on_signals
from ams_local.paths import throwaway_directory
from support.running_system import RunningSystem, running

from loadtests.proofs.changed_market import Kind, Market, open_market
from loadtests.proofs.killable_servers import Servers
from loadtests.proofs.obedience import percentile

DROPPED_BOUND_S = 60.0
_WAIT_S, _DROPPED_WAIT_S = 20.0, 90.0


@dataclass
class Measured:
    """How late changes of a kind were obeyed, in seconds; None for one that wasn't."""

    late_s: list[float | None] = field(default_factory=list)

    def failure(self, bound_s: float) -> str:
        """What is wrong; "" for nothing."""
        obeyed = [each for each in self.late_s if each is not None]
        if len(obeyed) < len(self.late_s):
            return f"{len(self.late_s) - len(obeyed)} were not obeyed"
        if obeyed and percentile(obeyed, 0.99) > bound_s:
            return f"p99 is {percentile(obeyed, 0.99):.2f} s"
        return ""

    def __str__(self) -> str:
        obeyed = [each for each in self.late_s if each is not None]
        if not obeyed:
            return "none was obeyed"
        return (
            f"{len(obeyed):4} changes  p50 {percentile(obeyed, 0.5):6.3f} s"
            f"  p99 {percentile(obeyed, 0.99):6.3f} s  max {max(obeyed):6.3f} s"
        )


async def measure(market: Market, kind: Kind, count: int, wait_s: float) -> Measured:
    """Changes a kind so many times, there and back."""
    measured, watcher = Measured(), market.shared.watcher if kind.is_shared else market.watcher
    watcher.is_slow = kind.is_slow
    done = 0
    while done < count:
        for step in kind.steps:
            await step.change()
            changed_s = time.monotonic()
            late_s = await watcher.lateness_s(changed_s, step.obeys, wait_s)
            if step.is_measured and done < count:
                measured.late_s.append(late_s)
                done += 1
    # The last step leads back, whatever it took.
    watcher.is_slow = False
    return measured


@contextlib.asynccontextmanager
async def dropped_writes(url: str) -> AsyncIterator[None]:
    """What the owner's outbox would take to Redis is lost meanwhile, and nobody is told."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "CREATE OR REPLACE FUNCTION lose_row() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN RETURN NULL; END'"
        )
        await connection.execute(
            "CREATE TRIGGER lose_writes BEFORE INSERT ON outbox FOR EACH ROW"
            " WHEN (NEW.destination = 'redis') EXECUTE FUNCTION lose_row()"
        )
        yield
    finally:
        await connection.execute("DROP TRIGGER IF EXISTS lose_writes ON outbox")
        await connection.close()


async def prove(system: RunningSystem, options: argparse.Namespace) -> list[str]:
    """What isn't as it should be, a line each."""
    failures = []
    async with open_market(system, options.rate) as market:
        wanted = set(filter(None, options.only.split(",")))
        kinds = [kind for kind in market.kinds() if not wanted or kind.name.partition(":")[0] in wanted]
        for kind in kinds:
            measured = await measure(market, kind, options.changes, _WAIT_S)
            print(f"{kind.name:24}{measured}", flush=True)
            if failure := measured.failure(options.bound):
                failures.append(f"{kind.name}: {failure}")
        for kind in kinds if options.dropped else []:
            async with dropped_writes(system.database_urls[kind.owner]):
                measured = await measure(market, kind, options.dropped, _DROPPED_WAIT_S)
            print(f"{kind.name:24}{measured}  (write dropped)", flush=True)
            if failure := measured.failure(DROPPED_BOUND_S):
                failures.append(f"{kind.name}, write dropped: {failure}")
            # What was lost comes again by then, so that the next kind begins from what is.
            for watcher in (market.watcher, market.shared.watcher):
                watcher.seen.clear()
            await eventually(lambda: _passes(market), _DROPPED_WAIT_S)
    return failures


async def _passes(market: Market) -> bool:
    watchers = (market.watcher, market.shared.watcher)
    return all(each.seen and each.seen[-1].code == "" for each in watchers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--changes", type=int, default=100, help="of each kind")
    parser.add_argument(
        "--dropped", type=int, default=1, help="of each kind, with the write to Redis dropped"
    )
    parser.add_argument("--bound", type=float, default=1.0, help="seconds that a kind's p99 may take")
    parser.add_argument("--rate", type=float, default=60, help="calls per second")
    parser.add_argument("--only", default="", help="kinds, with commas: key,grant,service")
    options = parser.parse_args()
    end_on_signals()
    servers = Servers(throwaway_directory())
    try:
        print("==> starting the whole system", flush=True)
        servers.start()
        with running(servers.postgres.url, servers.redis.url, servers.kafka.bootstrap_servers) as system:
            failures = asyncio.run(prove(system, options))
    finally:
        servers.stop()
        shutil.rmtree(servers.directory, ignore_errors=True)
    for failure in failures:
        print(f"  FAILS: {failure}")
    print("NOT OBEYED IN TIME" if failures else "every change was obeyed in time")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
