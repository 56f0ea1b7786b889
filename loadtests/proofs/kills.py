"""`make prove-kills`: whichever service is killed amid changes, each change is whole or absent.

    PYTHONPATH=tests python -m loadtests.proofs.kills [--changes N] [--kills N] [--seed N]

The whole system on servers of its own. --changes changes of all kinds (loadtests/proofs/kinds_of_change.py)
are asked for over REST, 24 at once, while identity-svc, catalog-svc and keys-svc are killed (SIGKILL) --kills
times each and started again: whenever one change of theirs is answered and others are under way, at moments
drawn from the seed. What was not answered and has an idempotency key is asked for once more. Then of each
change the rows that it leaves, its audit record and its event must be there, once, or none of them; what the
other services copied, and what the gateways find in Redis, must be what the owner's tables say; and the
services' own checks must find nothing. Exits with 1 otherwise.
"""

import argparse
import asyncio
import contextlib
import random
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

import aiohttp
import asyncpg
from ams_common.testing.eventually import eventually
from ams_local.execution import end_on_signals
from ams_local.paths import throwaway_directory
from ams_local.rest import Rest
from support.running_system import ADMIN_EMAIL, RunningSystem, running

from loadtests.proofs import agreement, whole_changes
from loadtests.proofs.killable_servers import Servers
from loadtests.proofs.kinds_of_change import KINDS, OWNERS
from loadtests.proofs.many_changes import Change, prepare
from loadtests.proofs.whole_changes import Connections, Found

# Of each owner's changes so many are under way at once.
AT_ONCE = 8
# What each of them answers an admin.
_LISTS = {"identity": "/merchants", "catalog": "/services", "keys": "/access-requests"}
_SETTLE_S = 90


class Victim:
    """One of the services, its changes, and when it is killed."""

    def __init__(
        self,
        system: RunningSystem,
        admin: Rest,
        owner: str,
        changes: Sequence[Change],
        kills: int,
        chosen: random.Random,
    ) -> None:
        self._system = system
        self._admin = admin
        self._owner = owner
        self._process = f"{owner}-svc"
        self._waiting = list(changes)
        self._begun = 0
        # When so many have begun, and one of them is answered: then others are anywhere on their way. Not
        # with the last ones, for then none is.
        last = max(kills, len(changes) - AT_ONCE // 2)
        self._kills = sorted(chosen.sample(range(1, last + 1), kills))
        self._is_up = asyncio.Event()
        self._is_up.set()

    async def run(self) -> None:
        """Until all of its changes are answered, or lost. Raises RuntimeError when it lives too long."""
        await asyncio.gather(*(self._make_changes() for _ in range(AT_ONCE)))
        if self._kills:
            raise RuntimeError(f"{self._process} wasn't killed {len(self._kills)} more times")

    async def _make_changes(self) -> None:
        while self._waiting:
            change = self._waiting.pop()
            self._begun += 1
            await change.make()
            if change.is_answered and self._is_up.is_set() and self._kills and self._begun >= self._kills[0]:
                self._kills.pop(0)
                await self._kill()
            await self._is_up.wait()

    async def _kill(self) -> None:
        self._is_up.clear()
        await asyncio.to_thread(self._system.kill, self._process)
        await asyncio.to_thread(self._system.start, self._process)
        # Whoever lost the connection tries again a little later: until then all calls would be lost at once.
        await eventually(self._answers)
        self._is_up.set()

    async def _answers(self) -> bool:
        return (await self._admin.ask("GET", _LISTS[self._owner])).status == 200


async def repeat(changes: Sequence[Change]) -> None:
    """Asks again for what was lost and has an idempotency key, until it is answered."""

    async def is_answered(change: Change) -> bool:
        await change.make()
        return not change.is_lost

    lost = [change for change in changes if change.is_lost and change.kind.is_repeatable]
    await asyncio.gather(*(eventually(partial(is_answered, change)) for change in lost))


@contextlib.asynccontextmanager
async def connected(urls: Mapping[str, str]) -> AsyncIterator[Connections]:
    """One connection to each schema."""
    async with contextlib.AsyncExitStack() as stack:
        connections = {}
        for schema, url in urls.items():
            connections[schema] = await asyncpg.connect(url)
            stack.push_async_callback(connections[schema].close)
        yield connections


async def settled(connections: Connections, changes: Sequence[Change]) -> tuple[Sequence[Found], list[str]]:
    """What is found of the changes, and what is wrong, once nothing is or time is up."""

    async def look() -> tuple[Sequence[Found], list[str]]:
        found = [await whole_changes.find(connections, change) for change in changes]
        return found, whole_changes.faults(found) + await agreement.unsettled(connections)

    async def is_settled() -> bool:
        return not (await look())[1]

    with contextlib.suppress(TimeoutError):
        await eventually(is_settled, _SETTLE_S)
    return await look()


async def prove(system: RunningSystem, bootstrap_servers: str, options: argparse.Namespace) -> list[str]:
    """What isn't as it should be, a line each."""
    chosen = random.Random(options.seed)
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http,
        connected(system.database_urls) as connections,
    ):
        people = system.people(http)
        sets = -(-options.changes // len(KINDS))
        changes = [change for _ in range(sets) for change in await prepare(people)]
        # Of the last set only some.
        changes = changes[: options.changes]
        chosen.shuffle(changes)
        print(f"{len(changes)} changes are prepared", flush=True)
        of_owners = {owner: [each for each in changes if each.kind.owner == owner] for owner in OWNERS}
        admin = await people.signed_in(ADMIN_EMAIL)
        victims = [
            Victim(system, admin, owner, of_owner, options.kills, chosen)
            for owner, of_owner in of_owners.items()
        ]
        await asyncio.gather(*(victim.run() for victim in victims))
        await repeat(changes)
        found, failures = await settled(connections, changes)
        failures += await agreement.untold(connections, bootstrap_servers, system.topic_prefix)
        failures += await agreement.stale_snapshots(connections, system)
        failures += await agreement.failed_checks(system)
    print("\n".join(whole_changes.summary(found)))
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--kills", type=int, default=4, help="of each service")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    end_on_signals()
    print(f"seed {options.seed}", flush=True)
    servers = Servers(throwaway_directory())
    try:
        print("==> starting the whole system", flush=True)
        servers.start()
        bootstrap_servers = servers.kafka.bootstrap_servers
        with running(servers.postgres.url, servers.redis.url, bootstrap_servers) as system:
            failures = asyncio.run(prove(system, bootstrap_servers, options))
    finally:
        servers.stop()
        shutil.rmtree(servers.directory, ignore_errors=True)
    for failure in failures:
        print(f"  FAILS: {failure}")
    print("HALF CHANGES" if failures else "every change is whole or absent")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
