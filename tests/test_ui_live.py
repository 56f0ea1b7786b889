"""Live figures in Chromium: they tick where they stand, over one stream, while the page is looked at."""

import secrets

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from playwright.async_api import Browser, BrowserContext, Page, Request, expect
from support.live_amounts import open_live_amounts
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import Trade, consume, open_trade
from support.upstream_api import Upstream

_TICK_MS = 20_000
_HIDE = """(isHidden) => {
  Object.defineProperty(document, "hidden", {get: () => isHidden, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
async def trade(people: People, upstream: Upstream) -> Trade:
    return await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))


async def _window(browser: Browser, system: RunningSystem, people: People, email: str) -> BrowserContext:
    """Signed in."""
    surfer = await sign_in(system, people, email)
    context = await browser.new_context(base_url=system.rest_url.removesuffix("/api/v1"))
    await context.add_cookies(
        [
            {"name": name, "value": value, "url": system.rest_url.removesuffix("/api/v1")}
            for name, value in surfer.cookies.items()
        ]
    )
    return context


def _streams(page: Page) -> list[Request]:
    """The live requests of the page from now on."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request) if "/live/" in request.url else None)
    return seen


@pytest.mark.parametrize(
    ("whose", "path", "title"),
    [
        ("consumer", "/dashboard", "Requests"),
        ("consumer", "/dashboard/usage?range=24h&group=status", "Requests"),
        ("merchant", "/merchant", "Requests"),
        ("merchant", "/merchant/usage?range=24h", "Requests"),
    ],
)
async def test_figures_rise_where_they_stand(
    whose: str,
    path: str,
    title: str,
    browser: Browser,
    system: RunningSystem,
    people: People,
    http: aiohttp.ClientSession,
    trade: Trade,
) -> None:
    async def has_called() -> bool:
        answer = await consume(http, system.gateway_url, trade.secret, trade.service["slug"])
        return answer.status == 200

    await eventually(has_called)
    email = f"{whose}-{trade.service['name'].split()[1]}@example.com"
    context = await _window(browser, system, people, email)
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    streams = _streams(page)
    await page.goto(path)
    await expect(page.locator(".live[data-state=on]")).to_be_visible()
    value = page.locator(".kpi").filter(has_text=title).locator(".kpi-value").first
    await expect(value).to_have_text("1", timeout=_TICK_MS)
    await page.locator(".chart-table summary").click()
    await page.evaluate("document.body.dataset.loaded = 'once'")
    assert await has_called()
    await expect(value).to_have_text("2", timeout=_TICK_MS)
    assert await page.evaluate("document.body.dataset.loaded") == "once"
    assert await page.evaluate("document.activeElement.matches('.chart-table summary')")
    await expect(page.locator(".chart-table")).to_have_attribute("open", "")
    drawn = await page.locator(".chart-table td[data-y]").evaluate_all(
        "all => all.map(cell => cell.dataset.y)"
    )
    assert sum(map(int, drawn)) == 2
    assert len(streams) == 1
    assert faults == []
    await context.close()


async def test_spend_and_revenue_rise_where_they_stand(
    browser: Browser, system: RunningSystem, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    """By service, key and project for the consumer, and for the merchant."""
    tag = secrets.token_hex(4)
    async with open_live_amounts(browser, system, http, upstream.base_url, tag) as amounts:
        for shown in amounts.places.values():
            await expect(shown).to_have_text("€0.25")
        assert await amounts.call()
        for shown in amounts.places.values():
            await expect(shown).to_have_text("€0.50")


async def test_a_chart_of_nothing_becomes_one_with_the_first_request(
    browser: Browser, system: RunningSystem, people: People, http: aiohttp.ClientSession, trade: Trade
) -> None:
    context = await _window(
        browser, system, people, f"merchant-{trade.service['name'].split()[1]}@example.com"
    )
    page = await context.new_page()
    await page.goto("/merchant/usage?range=24h")
    await expect(page.locator(".live[data-state=on]")).to_be_visible()
    await expect(page.locator(".chart-none")).to_be_visible()

    async def has_called() -> bool:
        answer = await consume(http, system.gateway_url, trade.secret, trade.service["slug"])
        return answer.status == 200

    await eventually(has_called)
    await expect(page.locator(".chart-table summary")).to_be_visible(timeout=_TICK_MS)
    await expect(page.locator(".chart-none")).to_be_hidden()
    await expect(page.locator(".chart-canvas canvas")).to_be_visible()
    await context.close()


async def test_the_stream_is_open_while_the_page_is_looked_at(
    browser: Browser, system: RunningSystem, people: People
) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    await people.register_consumer(email)
    context = await _window(browser, system, people, email)
    page = await context.new_page()
    streams = _streams(page)
    ended: list[Request] = []
    page.on("requestfailed", lambda request: ended.append(request))
    page.on("requestfinished", lambda request: ended.append(request))
    await page.goto("/dashboard/usage?range=90d")
    await expect(page.locator(".live[data-state=on]")).to_be_visible()
    await page.evaluate(_HIDE, True)

    async def is_closed() -> bool:
        return [request for request in ended if "/live/" in request.url] == streams

    await eventually(is_closed)
    assert len(streams) == 1
    async with page.expect_request("**/live/**"):
        await page.evaluate(_HIDE, False)
    await expect(page.locator(".live[data-state=on]")).to_be_visible()
    await context.close()


async def test_signing_out_elsewhere_stops_the_page(
    browser: Browser, system: RunningSystem, people: People
) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    await people.register_consumer(email)
    context = await _window(browser, system, people, email)
    page, other = await context.new_page(), await context.new_page()
    await page.goto("/dashboard/usage?range=90d")
    await expect(page.locator(".live[data-state=on]")).to_be_visible()
    await other.goto("/marketplace")
    await other.get_by_role("button", name="Account of").click()
    await other.get_by_role("button", name="Sign out").click()
    await expect(page.locator(".live")).to_have_text("Stopped", timeout=_TICK_MS)
    await context.close()
