"""What scripts ask for while a page is open: it shows that it is under way, and why it didn't come."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from ams_local.rest import People
from playwright.async_api import Browser, Page, Route, expect
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import open_window
from support.trade import Trade, new_service, open_trade
from support.upstream_api import Upstream

_AWAY = """<div class="notice" role="alert">A part of AMS is not reachable.</div>"""
_TOAST = """<div class="toast toast-bad" data-toast role="alert">A part of AMS is not reachable.</div>"""


@pytest.fixture
async def trade(people: People, upstream: Upstream) -> Trade:
    return await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))


@pytest.fixture
async def page(browser: Browser, system: RunningSystem, people: People) -> AsyncIterator[Page]:
    """An admin's."""
    context = await open_window(browser, system, people, ADMIN_EMAIL)
    yield await context.new_page()
    await context.close()


def only_by_script(answer: Callable[[Route], Awaitable[None]]) -> Callable[[Route], Awaitable[None]]:
    """For page.route(): what the page itself is asked for goes on."""

    async def handle(route: Route) -> None:
        await (answer(route) if "hx-request" in route.request.headers else route.fallback())

    return handle


@only_by_script
async def no_connection(route: Route) -> None:
    await route.abort("connectionrefused")


async def waiting_item(page: Page, trade: Trade, reason: str) -> str:
    """A service that waits for a decision, with a reason typed into its item of the queue; the item's id."""
    body = new_service("https://api.example.com", name=f"Waiting {secrets.token_hex(4)}")
    service_id = (await trade.merchant.post("/services", **body))["serviceId"]
    await trade.merchant.post(f"/services/{service_id}:submit")
    await page.goto("/admin")
    await page.locator(f"#reason-{service_id}").fill(reason)
    return str(service_id)


async def test_what_takes_more_than_a_second_shows_that_it_is_under_way(page: Page, trade: Trade) -> None:
    held: list[Route] = []

    @only_by_script
    async def hold(route: Route) -> None:
        held.append(route)

    await page.route("**/admin/**", hold)
    busy = page.get_by_text("Working…")
    await page.goto("/admin/services")
    await page.get_by_role("searchbox").fill("tax")
    await expect(busy).to_be_attached()
    await expect(page.locator(".busy")).to_be_visible()
    await held.pop().fallback()
    await expect(page.locator(".busy")).to_be_hidden()

    service_id = await waiting_item(page, trade, "")
    item = page.locator(f"#item-{service_id}")
    await item.get_by_role("button", name="Approve").click()
    await expect(page.locator(".busy")).to_be_visible()
    await held.pop().fallback()
    await expect(item).to_have_count(0)
    await expect(page.locator(".busy")).to_be_hidden()


async def test_without_a_connection_a_message_says_so_and_the_button_works_again(
    page: Page, trade: Trade
) -> None:
    service_id = await waiting_item(page, trade, "A reason")
    approve = page.locator(f"#item-{service_id}").get_by_role("button", name="Approve")
    await page.route("**/*", no_connection)
    for _ in range(2):
        await approve.click()
        await expect(page.locator(".toasts").get_by_text("AMS can’t be reached")).to_have_count(1)
        await expect(approve).not_to_have_attribute("aria-busy", "true")
    await expect(page.locator(f"#reason-{service_id}")).to_have_value("A reason")
    await page.keyboard.press("Control+k")
    await expect(page.get_by_role("dialog").get_by_text("AMS can’t be reached")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.unroute("**/*")
    await approve.click()
    await expect(page.locator(f"#item-{service_id}")).to_have_count(0)


async def test_a_decision_that_fails_leaves_its_item_and_what_was_typed(page: Page, trade: Trade) -> None:
    service_id = await waiting_item(page, trade, "A reason")

    @only_by_script
    async def away(route: Route) -> None:
        headers = {"content-type": "text/html", "hx-retarget": ".toasts", "hx-reswap": "beforeend"}
        await route.fulfill(status=503, headers=headers, body=_TOAST)

    await page.route("**/decision", away)
    item = page.locator(f"#item-{service_id}")
    await item.get_by_role("button", name="Reject").click()
    await expect(page.locator(".toasts").get_by_text("not reachable")).to_be_visible()
    await expect(page.locator(f"#reason-{service_id}")).to_have_value("A reason")
    await page.unroute("**/decision")
    await item.get_by_role("button", name="Reject").click()
    await expect(item).to_have_count(0)


async def test_a_search_that_fails_says_so_and_finds_again_later(page: Page, system: RunningSystem) -> None:

    @only_by_script
    async def away(route: Route) -> None:
        await route.fulfill(status=503, content_type="text/html", body=_AWAY)

    await page.goto("/admin/services")
    await page.route("**/*", away)
    await page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("alert")).to_contain_text("not reachable")
    await expect(dialog.get_by_role("status")).to_contain_text("not reachable")
    await page.unroute("**/*")
    await dialog.get_by_role("combobox").fill("merchants")
    await expect(dialog.get_by_role("option", name="Merchants")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{system.rest_url}/admin/merchants")
