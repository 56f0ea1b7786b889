"""What the load falls on: a marketplace of some pages, filled through the web API as people would."""

import asyncio
import contextlib

import aiohttp
from ams_common.testing.eventually import eventually
from ams_local import demo
from ams_local.guide import say
from ams_local.keyring import Keyring
from ams_local.rest import Mailbox, People, Rest
from ams_local.seeding import Seeding
from ams_local.system import ADMIN_EMAIL, System

from loadtests.load.stage import CLOSED, ECHO, LIMITED, QUOTES, Stage

PAGE_SIZE = 10
PAGES = 3
# Longer than an event is on its way from the gateway to the usage that is shown.
LATE_S = 3


def _offer(slug: str, path: str, rate_limit_per_minute: int = 0) -> demo.Offer:
    return demo.Offer(
        name=slug.replace("-", " ").title(),
        slug=slug,
        description="Answers as fast as it can, so that what stands before it can be measured.",
        path=path,
        price=demo.per_request("0.001"),
        rate_limit_per_minute=rate_limit_per_minute,
        tags=("testing", "load"),
        method="GET",
        example="",
    )


_NAMED = (
    _offer(ECHO, "/echo"),
    _offer(QUOTES, "/quotes"),
    _offer(LIMITED, "/echo", 60),
    _offer(CLOSED, "/echo"),
)
_OTHERS = tuple(_offer(f"load-{number:02}", "/currency") for number in range(len(_NAMED), PAGES * PAGE_SIZE))
MERCHANT = demo.Merchant("load@numbers.example", "Mara Keller", "Load Ltd", (*_NAMED, *_OTHERS))
CONSUMER = demo.Consumer("load@shop.example", "Carla Rossi", (ECHO, QUOTES, LIMITED))


class Market:
    """The marketplace, through REST and the gateway."""

    def __init__(self, http: aiohttp.ClientSession, system: System, keyring: Keyring) -> None:
        self._system = system
        self._keyring = keyring
        self._people = People(Rest(http, system.url("ams-bff")), Mailbox(http, system.url("mail")))

    async def fill(self) -> Stage:
        """The services stand in the marketplace, and the consumer has a key that the gateway has yet to
        hear of."""
        upstream = self._system.url("upstream")
        say(f"publishing {len(MERCHANT.offers)} services through the REST API")
        seeding = Seeding(
            self._people, upstream, self._keyring, lambda line: None, [MERCHANT], [CONSUMER], project=None
        )
        await seeding.run(ADMIN_EMAIL)
        merchant = await self._people.sign_in(MERCHANT.email)
        page = await self._people.rest.get("/marketplace/services", pageSize=str(PAGE_SIZE))
        services = await merchant.list_all("/merchant/services", "services")
        return Stage(
            rest_url=f"{self._system.url('ams-bff')}/api/v1",
            gateway_url=self._system.url("ams-gateway"),
            key=self._keyring.find(f"demo key {CONSUMER.email}") or "",
            merchant_token=merchant.token,
            service_ids=[service["serviceId"] for service in services],
            slugs=[service["slug"] for service in services],
            page_size=PAGE_SIZE,
            second_page_token=page["nextPageToken"],
        )

    async def await_count(self, forwarded: int, timeout_s: float) -> int:
        """How many requests the consumer sees counted, a while after that was `forwarded` or time was up:
        what is counted twice comes late."""
        consumer = await self._people.sign_in(CONSUMER.email)

        async def count() -> int:
            return int((await consumer.get("/consumer/usage"))["total"].get("requests", 0))

        async def is_counted() -> bool:
            return await count() >= forwarded

        with contextlib.suppress(TimeoutError):
            await eventually(is_counted, timeout_s)
        await asyncio.sleep(LATE_S)
        return await count()
