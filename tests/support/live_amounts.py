"""The places on pages where an amount of money follows each call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from playwright.async_api import Browser, Locator

from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import open_window
from support.trade import Trade, consume, open_trade, per_request

# What a call costs.
CALL_NANOS = 250_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Whose page, and where on it."""

    name: str
    whose: str
    path: str
    selector: str


# As many pages of one person as may be live at a time.
PLACES = (
    Place("spend this month", "consumer", "/dashboard", "#kpi-spend .kpi-value"),
    Place("spend by service, overview", "consumer", "/dashboard", "#spend-by-service .rows .num"),
    *(
        Place(
            f"spend by {group}",
            "consumer",
            f"/dashboard/usage?range=24h&group={group}",
            "#usage-table td[data-label=Spend]",
        )
        for group in ("service", "key", "project")
    ),
    Place("revenue this month", "merchant", "/merchant", "#kpi-revenue .kpi-value"),
)


@dataclass(frozen=True, slots=True)
class LiveAmounts:
    """The pages, open and live."""

    system: RunningSystem
    http: aiohttp.ClientSession
    trade: Trade
    secret: str  # of a key of a project that the consumer pays for
    places: dict[Place, Locator]

    async def call(self) -> bool:
        """Whether it was answered."""
        slug = self.trade.service["slug"]
        return (await consume(self.http, self.system.gateway_url, self.secret, slug)).status == 200


@asynccontextmanager
async def open_live_amounts(
    browser: Browser, system: RunningSystem, http: aiohttp.ClientSession, base_url: str, tag: str
) -> AsyncIterator[LiveAmounts]:
    """Of a consumer and a merchant who are new, once the first call has been answered."""
    people: People = system.people(http)
    price = per_request(CALL_NANOS)
    trade = await open_trade(people, ADMIN_EMAIL, base_url, tag, price=price)
    secret = await _key_of_project(trade)
    amounts = LiveAmounts(system, http, trade, secret, {})
    await eventually(amounts.call)
    windows = {
        whose: await open_window(browser, system, people, f"{whose}-{tag}@example.com")
        for whose in ("consumer", "merchant")
    }
    pages = {}
    for place in PLACES:
        if (place.whose, place.path) not in pages:
            page = pages[place.whose, place.path] = await windows[place.whose].new_page()
            await page.goto(system.rest_url.removesuffix("/api/v1") + place.path)
            await page.locator(".live[data-state=on]").wait_for()
        amounts.places[place] = pages[place.whose, place.path].locator(place.selector)
    yield amounts
    for window in windows.values():
        await window.close()


async def _key_of_project(trade: Trade) -> str:
    """Its secret."""
    service_id = trade.service["serviceId"]
    project = await trade.consumer.post("/projects", name="Maps", description="For the app")
    asked = await trade.consumer.post_eventually(
        "/access-requests", serviceId=service_id, projectId=project["projectId"]
    )
    await trade.admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
    made = await trade.consumer.post_eventually(
        "/keys", name="Checkout", serviceIds=[service_id], ttlDays=30, projectId=project["projectId"]
    )
    return str(made["secret"])
