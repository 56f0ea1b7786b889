"""The search palette by keyboard, by thumb, and its page without scripts."""

import re
import secrets
from dataclasses import dataclass

import pytest
from ams_local.rest import Mailbox, People
from playwright.async_api import Browser, expect
from support.chromium import Person
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import open_trade
from support.upstream_api import Upstream


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """A consumer with access to a service, and the mailbox of its codes."""

    tag: str
    service_name: str
    service_id: str
    email: str


@pytest.fixture
async def user(people: People, upstream: Upstream) -> ServiceUser:
    tag = secrets.token_hex(4)
    trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, tag)
    service = trade.service
    return ServiceUser(tag, service["name"], service["serviceId"], f"consumer-{tag}@example.com")


async def signed_in(
    browser: Browser, system: RunningSystem, mail: Mailbox, user: ServiceUser, width: int, **options: bool
) -> Person:
    person = await Person.arrive(browser, system, mail, user.email, width, **options)
    await person.page.goto("/login")
    await person.fill(email=user.email)
    await person.press("Mail me a code")
    await person.give_code()
    await expect(person.page).to_have_url(re.compile("/dashboard"))
    return person


async def test_the_palette_is_found_by_keyboard_thumb_and_link(
    browser: Browser, system: RunningSystem, people: People, user: ServiceUser
) -> None:
    ann = await signed_in(browser, system, people.mail, user, 1440)
    page = ann.page
    words = page.get_by_role("combobox", name="Search")
    link = page.get_by_role("link", name="Search", exact=True)
    service = page.get_by_role("option", name=user.service_name)

    # Escape gives the focus back to where it was.
    await link.focus()
    await page.keyboard.press("Control+k")
    await expect(words).to_be_focused()
    await expect(page.get_by_role("option", name="API keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(words).to_be_hidden()
    await expect(link).to_be_focused()

    # Opened, typed, chosen with an arrow, followed.
    await page.keyboard.press("Control+k")
    await page.keyboard.type(user.tag)
    await expect(page.get_by_role("listbox")).to_have_attribute("data-words", user.tag)
    await expect(service.first).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("ArrowDown")
    await expect(service.first).to_have_attribute("aria-selected", "false")
    await page.keyboard.press("ArrowUp")
    chosen = await service.first.get_attribute("id")
    await expect(words).to_have_attribute("aria-activedescendant", str(chosen))
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(f"/dashboard/services/{user.service_id}$"))

    # Enter before the list has come waits for it.
    await page.wait_for_load_state()
    await page.keyboard.press("Control+k")
    await page.keyboard.type("invoic")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/dashboard/invoices$"))
    await ann.looks_right()

    # On a phone, by its button.
    await page.set_viewport_size({"width": 375, "height": 740})
    await link.click()
    await expect(words).to_be_focused()
    await words.fill(f"nothing {user.tag}")
    await expect(
        page.get_by_role("dialog").get_by_role("paragraph").filter(has_text="Nothing matches")
    ).to_be_visible()
    await words.fill(user.tag)
    await expect(service.first).to_be_visible()
    await ann.looks_right()
    await service.first.click()
    await expect(page).to_have_url(re.compile("/dashboard/services/"))


async def test_without_scripts_the_search_is_a_page(
    browser: Browser, system: RunningSystem, people: People, user: ServiceUser
) -> None:
    visitor = await Person.arrive(browser, system, people.mail, user.email, 375, java_script_enabled=False)
    await visitor.page.goto("/marketplace")
    await visitor.page.get_by_role("link", name="Search", exact=True).click()
    await visitor.page.get_by_role("searchbox").fill(user.tag)
    await visitor.page.keyboard.press("Enter")
    await visitor.page.get_by_role("link", name=user.service_name).click()
    await expect(visitor.page).to_have_url(re.compile("/marketplace/"))
