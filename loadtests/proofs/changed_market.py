"""A consumer's calls to a merchant's service, and each change that gateways have to obey."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
from aiohttp import web
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import Trade, open_trade

from loadtests.proofs.obedience import Seen, Watcher

# Longer than the shortest timeout that a merchant can set.
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
    # Whether it is seen by calls with the project's key.
    is_shared: bool = False


def code_is(*codes: str) -> Callable[[Seen], bool]:
    return lambda seen: seen.code in codes


@dataclass(frozen=True)
class Shared:
    """A project of the consumer's, and the calls with the key that a member has made in it."""

    member_path: str
    watcher: Watcher


class Market:
    """A consumer's calls to a merchant's service, and who may change what about them."""

    def __init__(self, trade: Trade, watcher: Watcher, shared: "Shared", pseudonym_key: str) -> None:
        self.trade = trade
        self.watcher = watcher
        self.shared = shared
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
            async def change() -> None:
                # A live service's limit is a revision, in force once an admin has approved it.
                changed = await trade.merchant.patch(
                    service, updateMask="rateLimitPerMinute", rateLimitPerMinute=per_minute
                )
                revision = changed["revision"]
                approve = f"{service}/revisions/{revision['revisionId']}:approve"
                await trade.admin.post(approve, version=revision["version"])

            return change

        return [
            # Before anybody is stopped: that ends the owner's access token.
            Kind(
                "project",
                "keys",
                (
                    # May use nothing but a service that the project hasn't; then all that it has again.
                    Step(
                        lambda: trade.consumer.patch(
                            self.shared.member_path, role="PROJECT_MEMBER", serviceIds=[consumer_id]
                        ),
                        code_is("service_not_granted"),
                    ),
                    Step(
                        lambda: trade.consumer.patch(self.shared.member_path, role="PROJECT_MEMBER"), passes
                    ),
                ),
                is_shared=True,
            ),
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
        # Not the project's.
        [own] = [grant for grant in grants if not grant.get("projectId")]
        await self.trade.consumer.post(f"/consumer/grants/{own['grantId']}:end")

    async def _give_grant(self) -> None:
        trade, service_id = self.trade, self.trade.service["serviceId"]
        asked = await trade.consumer.post("/access-requests", serviceId=service_id)
        await trade.admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
        await trade.consumer.post(f"/keys/{trade.key['keyId']}:setServices", serviceIds=[service_id])


async def _answer(request: web.Request) -> web.Response:
    if "X-Slow" in request.headers:
        await asyncio.sleep(_SLOW_S)
    return web.json_response({"answer": 42})


async def share(people: People, trade: Trade, gateway_url: str, rate: float) -> Shared:
    """The consumer's project has access to the service, and a member a key in it."""
    tag, service_id = secrets.token_hex(4), trade.service["serviceId"]
    email = f"member-{tag}@example.com"
    project_id = (await trade.consumer.post("/projects", name=f"Project {tag}"))["projectId"]
    member = await people.register_consumer(email)
    invited = await trade.consumer.post(
        f"/projects/{project_id}/invitations", email=email, role="PROJECT_MEMBER"
    )
    await people.mail.next_invite(email)
    await member.post(f"/project-invitations/{invited['invitationId']}:accept")
    asked = await trade.consumer.post_eventually(
        "/access-requests", serviceId=service_id, projectId=project_id
    )
    await trade.admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
    made = await member.post_eventually(
        "/keys", name="shared", serviceIds=[service_id], ttlDays=30, projectId=project_id
    )
    watcher = Watcher(gateway_url, trade.service["slug"], made["secret"], rate)
    return Shared(f"/projects/{project_id}/members/{made['key']['createdBy']}", watcher)


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
            people = system.people(http)
            trade = await open_trade(people, ADMIN_EMAIL, base_url, secrets.token_hex(4))
            watcher = Watcher(system.gateway_url, trade.service["slug"], trade.secret, rate)
            shared = await share(people, trade, system.gateway_url, rate / 4)
            watchers = (watcher, shared.watcher)
            watching = [asyncio.create_task(each.run()) for each in watchers]

            async def is_served() -> bool:
                return all(any(seen.code == "" for seen in each.seen) for each in watchers)

            try:
                await eventually(is_served, 60)
                pseudonym_key = system.programs["keys-svc"].environment["PSEUDONYM_KEY"]
                yield Market(trade, watcher, shared, pseudonym_key)
            finally:
                for each in watchers:
                    each.stop = True
                await asyncio.gather(*watching)
    finally:
        await runner.cleanup()
