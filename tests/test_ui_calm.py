"""Pages that hold still for those who ask for it, and that make sense without scripts."""

import secrets
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from ams_local.rest import People
from playwright.async_api import Browser, Page, expect
from support.chromium import Person
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import Trade, open_trade
from support.upstream_api import Upstream

# Names of what moves longer than a hundredth of a second, or would when something changes.
_MOVES = """() => {
  const seconds = (list) => Math.max(...list.split(",").map((each) => parseFloat(each) * (each.trim().endsWith("ms") ? 0.001 : 1)));
  const moving = document.getAnimations().filter((each) => each.effect.getComputedTiming().endTime > 10).map((each) => each.animationName ?? each.transitionProperty);
  for (const each of document.querySelectorAll("body *")) for (const part of [null, "::before", "::after"]) {
    const style = getComputedStyle(each, part);
    if (seconds(style.transitionDuration) > 0.01) moving.push(`transition of ${each.className || each.tagName}`);
    if (style.animationName !== "none" && seconds(style.animationDuration) > 0.01) moving.push(style.animationName);
  }
  return [...new Set(moving)];
}"""  # noqa: E501
# Buttons that are shown and that nothing but a script could serve.
_DEAD = """() => [...document.querySelectorAll("button, [role=button]")]
  .filter((each) => each.checkVisibility() && !(each.type === "submit" && each.form)
    && !each.hasAttribute("popovertarget") && !each.hasAttribute("commandfor"))
  .map((each) => each.outerHTML.slice(0, 120))"""

Arrive = Callable[..., Awaitable[Page]]


@pytest.fixture
async def trade(people: People, upstream: Upstream) -> Trade:
    return await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(3))


@pytest.fixture
def arrive(browser: Browser, system: RunningSystem, http: aiohttp.ClientSession) -> Arrive:
    """`arrive(email, **options)`: a window of somebody signed in."""

    async def signed_in(email: str, **options: object) -> Page:
        mail = system.mailbox(http)
        person = await Person.arrive(browser, system, mail, email, **options)  # type: ignore[arg-type]
        await person.page.goto("/login")
        await person.fill(email=email)
        await person.press("Mail me a code")
        await person.give_code()
        await expect(person.page.locator(".framed")).to_be_visible()
        return person.page

    return signed_in


async def email_of(trade: Trade) -> str:
    return str((await trade.consumer.get("/me"))["email"])


async def test_nothing_moves_for_those_who_ask_for_stillness(arrive: Arrive, trade: Trade) -> None:
    page = await arrive(await email_of(trade), width=375)
    key = f"/dashboard/api-keys/{trade.key['keyId']}"
    for path in ("/dashboard", key, "/dashboard/usage", "/dashboard/api-keys/new", "/marketplace"):
        await page.goto(path)
        assert await page.evaluate(_MOVES) == [], path
    await page.goto(key)
    await page.get_by_role("button", name="Revoke").click()
    assert await page.evaluate(_MOVES) == []
    await page.keyboard.press("Escape")
    for name in ("Navigation", "Account of"):
        await page.get_by_role("button", name=name).click()
        assert await page.evaluate(_MOVES) == [], name
        await page.keyboard.press("Escape")


async def test_others_do_see_the_dialog_come(arrive: Arrive, trade: Trade) -> None:
    """So that the test above can fail."""
    page = await arrive(await email_of(trade), reduced_motion="no-preference")
    await page.goto("/dashboard/api-keys/new")
    assert await page.evaluate(_MOVES) != []


async def test_without_scripts_a_key_is_revoked_in_its_dialog(arrive: Arrive, trade: Trade) -> None:
    page = await arrive(await email_of(trade), java_script_enabled=False)
    for path in ("/dashboard", "/dashboard/usage", "/marketplace", f"/marketplace/{trade.service['slug']}"):
        await page.goto(path)
        assert await page.evaluate(_DEAD) == [], path
    await page.goto(f"/dashboard/api-keys/{trade.key['keyId']}")
    assert await page.evaluate(_DEAD) == []
    assert await page.locator("[data-copy]").count() > 0
    await expect(page.locator("[data-copy]:visible")).to_have_count(0)
    await expect(page.locator(".chart table").first).to_be_visible()
    await page.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Type").fill("laptop")
    await dialog.get_by_role("button", name="Revoke key").click()
    await expect(page.get_by_text("Calls with it are refused, for good.")).to_be_visible()
    assert await page.evaluate(_DEAD) == []


async def test_without_scripts_an_admin_suspends_in_a_dialog(arrive: Arrive, trade: Trade) -> None:
    page = await arrive(ADMIN_EMAIL, java_script_enabled=False)
    await page.goto("/admin")
    assert await page.evaluate(_DEAD) == []
    await expect(page.locator(".chart table").first).to_be_visible()
    await page.goto(f"/admin/merchants/{trade.service['merchantId']}")
    assert await page.evaluate(_DEAD) == []
    await page.locator("main").get_by_role("button", name="Suspend").first.click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Reason").fill("Complaints")
    await dialog.get_by_role("button", name="Suspend").click()
    await expect(page.get_by_text("is suspended").first).to_be_visible()
