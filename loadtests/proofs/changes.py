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
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
from aiohttp import web
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.eventually import eventually
from ams_local.execution import end_on_signals
from ams_local.paths import throwaway_directory
from support.running_system import ADMIN_EMAIL, RunningSystem, running
from support.trade import Trade, open_trade

from loadtests.proofs.killable_servers import Servers
from loadtests.proofs.obedience import Seen, Watcher, percentile

DROPPED_BOUND_S = 60.0
_WAIT_S, _DROPPED_WAIT_S = 20.0, 90.0
_SLOW_S = 1.4


@dataclass(frozen=True)
class Step:
    """A change, and how calls show that it is obeyed. `is_measured` False: it only leads back."""

    change: Callable[[], Awaitable[Any]]
    obeys: Callable[[Seen], bool]
    is_measured: bool = True


@dataclass(frozen=True)
class Kind:
    """Something that matters to a gateway, changed there and back; `owner` writes it to Redis."""

    name: str
    owner: str
    steps: tuple[Step, ...]
    is_slow: bool = False


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


def code_is(*codes: str) -> Callable[[Seen], bool]:
    return lambda seen: seen.code in codes


class Market:
    """A consumer's calls to a merchant's service, and who may change what about them."""

    def __init__(self, trade: Trade, watcher: Watcher, pseudonym_key: str) -> None:
        self.trade = trade
        self.watcher = watcher
        self._pseudonyms = Pseudonyms(pseudonym_key)

    def kinds(self) -> list[Kind]:
        trade = self.trade
        key, service = f"/keys/{trade.key['keyId']}", f"/services/{trade.service['serviceId']}"
        consumer_id, merchant_id = trade.key["consumerId"], trade.service["merchantId"]
        passes = code_is("")
        name = self._pseudonyms.of_consumer(UUID(merchant_id), UUID(consumer_id))
        mine = f"/merchant{service}/consumers/{name}"

        def post(who: Any, path: str, **body: Any) -> Callable[[], Awaitable[Any]]:
            return lambda: who.post(path, **body)

        def patch(**forwarding: Any) -> Callable[[], Awaitable[Any]]:
            return lambda: trade.merchant.patch(service, updateMask="forwarding", forwarding=forwarding)

        def limit(per_minute: int) -> Callable[[], Awaitable[Any]]:
            return lambda: trade.merchant.patch(
                service, updateMask="rateLimitPerMinute", rateLimitPerMinute=per_minute
            )

        return [
            Kind(
                "key: disabled",
                "keys",
                (
                    Step(post(trade.consumer, f"{key}:disable"), code_is("key_disabled")),
                    Step(post(trade.consumer, f"{key}:enable"), passes),
                ),
            ),
            Kind(
                "key: networks",
                "keys",
                (
                    Step(
                        post(
                            trade.consumer, f"{key}:setAllowedNetworks", allowedNetworks=["198.51.100.0/24"]
                        ),
                        code_is("address_not_allowed"),
                    ),
                    Step(post(trade.consumer, f"{key}:setAllowedNetworks"), passes),
                ),
            ),
            Kind(
                "key: rotated",
                "keys",
                (Step(self._rotate, code_is("key_expired")), Step(self._follow, passes, False)),
            ),
            Kind(
                "grant",
                "keys",
                (Step(self._end_grant, code_is("service_not_granted")), Step(self._give_grant, passes)),
            ),
            Kind(
                "consumer: of a service",
                "keys",
                (
                    Step(post(trade.merchant, f"{mine}:block"), code_is("service_not_granted")),
                    Step(post(trade.merchant, f"{mine}:unblock"), passes),
                ),
            ),
            Kind(
                "consumer: everywhere",
                "keys",
                (
                    Step(post(trade.admin, f"/consumers/{consumer_id}:block"), code_is("consumer_blocked")),
                    Step(post(trade.admin, f"/consumers/{consumer_id}:unblock"), passes),
                ),
            ),
            Kind(
                "limit: of a consumer",
                "keys",
                (
                    Step(
                        post(trade.merchant, f"{mine}:setLimits", limits={"perMinute": 900_001}),
                        lambda seen: "900001" in seen.policy,
                    ),
                    Step(post(trade.merchant, f"{mine}:setLimits"), lambda seen: "900001" not in seen.policy),
                ),
            ),
            Kind(
                "limit: of a service",
                "catalog",
                (
                    Step(limit(900_002), lambda seen: "900002" in seen.policy),
                    Step(limit(0), lambda seen: "900002" not in seen.policy),
                ),
            ),
            Kind(
                "service",
                "catalog",
                (
                    Step(patch(showsCosts=True), lambda seen: seen.shows_cost),
                    Step(patch(), lambda seen: not seen.shows_cost),
                ),
            ),
            Kind(
                "timeout",
                "catalog",
                (
                    Step(patch(firstByteTimeoutS=1), code_is("upstream_timeout", "upstream_failing")),
                    Step(patch(), passes, False),
                ),
                is_slow=True,
            ),
            Kind(
                "merchant",
                "catalog",
                (
                    Step(
                        post(trade.admin, f"/merchants/{merchant_id}:suspend"), code_is("merchant_suspended")
                    ),
                    Step(post(trade.admin, f"/merchants/{merchant_id}:reinstate"), passes),
                ),
            ),
        ]

    async def _rotate(self) -> None:
        rotated = await self.trade.consumer.post(f"/keys/{self.trade.key['keyId']}:rotate")
        self._next_secret = rotated["secret"]

    async def _follow(self) -> None:
        self.watcher.secret = self._next_secret

    async def _end_grant(self) -> None:
        grants = (await self.trade.consumer.get("/consumer/grants", onlyInForce="true"))["grants"]
        await self.trade.consumer.post(f"/consumer/grants/{grants[0]['grantId']}:end")

    async def _give_grant(self) -> None:
        trade, service_id = self.trade, self.trade.service["serviceId"]
        asked = await trade.consumer.post("/access-requests", serviceId=service_id)
        await trade.admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
        await trade.consumer.post(f"/keys/{trade.key['keyId']}:setServices", serviceIds=[service_id])


async def measure(market: Market, kind: Kind, count: int, wait_s: float) -> Measured:
    """Changes a kind so many times, there and back."""
    measured, watcher = Measured(), market.watcher
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


async def _answer(request: web.Request) -> web.Response:
    if "X-Slow" in request.headers:
        await asyncio.sleep(_SLOW_S)
    return web.json_response({"answer": 42})


@contextlib.asynccontextmanager
async def open_market(system: RunningSystem, rate: float) -> AsyncIterator[Market]:
    """A trade that is called all the time."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        async with aiohttp.ClientSession() as http:
            trade = await open_trade(system.people(http), ADMIN_EMAIL, base_url, secrets.token_hex(4))
            watcher = Watcher(system.gateway_url, trade.service["slug"], trade.secret, rate)
            watching = asyncio.create_task(watcher.run())

            async def is_served() -> bool:
                return any(seen.code == "" for seen in watcher.seen)

            try:
                await eventually(is_served, 60)
                pseudonym_key = system.programs["keys-svc"].environment["PSEUDONYM_KEY"]
                yield Market(trade, watcher, pseudonym_key)
            finally:
                watcher.stop = True
                await watching
    finally:
        await runner.cleanup()


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
            market.watcher.seen.clear()
            await eventually(lambda: _passes(market), _DROPPED_WAIT_S)
    return failures


async def _passes(market: Market) -> bool:
    return bool(market.watcher.seen) and market.watcher.seen[-1].code == ""


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
