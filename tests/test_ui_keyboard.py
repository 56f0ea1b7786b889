"""The journey by keys alone: nobody needs a mouse, and everybody sees where they are."""

import re
import secrets
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from ams_local.rest import Mailbox
from playwright.async_api import Browser, Page, expect
from support.chromium import Person
from support.keyboard import Keyboard, Stop
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import consume
from support.upstream_api import Upstream

Arrival = Callable[[str, str, int], Awaitable["Typist"]]


class Typist(Person):
    """A person at the keyboard."""

    def __init__(self, page: Page, mail: Mailbox, email: str) -> None:
        super().__init__(page, mail, email)
        self.keys = Keyboard(page)

    async def prove(self, home: str) -> None:
        """Sends the form, then types the mailed code, where the focus is already."""
        await self.keys.leave()
        await self.keys.type("Code", await self.mail.next_code(self.email))
        await self.keys.leave()
        await expect(self.page).to_have_url(re.compile(home))

    async def decide(self, text: str) -> None:
        """Approves the item of the queue; the focus goes on to what is next, not back to the page's start."""
        await self.page.goto("/admin")
        await self.keys.use("Approve", inside=text)
        await expect(self.page.locator("#queue li", has_text=text)).to_have_count(0)
        await self.page.wait_for_function("document.activeElement !== document.body")
        await self.keys.stop()

    async def is_inside(self, selector: str) -> bool:
        script = "(outer) => !!document.querySelector(outer)?.contains(document.activeElement)"
        return bool(await self.page.evaluate(script, selector))


@pytest.fixture
def arrive(browser: Browser, system: RunningSystem, http: aiohttp.ClientSession) -> Arrival:
    """Somebody comes to a page: their address, its path, the width of their window in px."""
    mail = system.mailbox(http)

    async def arrive(email: str, path: str, width: int) -> Typist:
        permissions = ["clipboard-read", "clipboard-write"]
        person = await Typist.arrive(browser, system, mail, email, width, permissions=permissions)
        await person.page.goto(path)
        return person

    return arrive


async def skips_to_the_content(person: Typist) -> None:
    """The first stop leads past the navigation."""
    await person.page.reload()
    assert (await person.keys.tab()).name == "Skip to content"
    await person.keys.press("Enter")
    await person.keys.tab()
    assert await person.is_inside("main")


async def opens_and_closes(person: Typist, opener: str, selector: str) -> None:
    """What the opener opens takes the focus; Escape closes it and the opener has the focus again."""
    for key in ("Enter", " "):
        await person.keys.use(opener, key=key)
        await expect(person.page.locator(selector)).to_be_visible()
        assert await person.is_inside(selector), f"{selector} doesn't take the focus"
        await person.keys.press("Escape")
        await expect(person.page.locator(selector)).to_be_hidden()
        stop = await person.keys.stop()
        assert stop.name.startswith(opener), f"the focus is on “{stop.name}”"


async def stays_inside(person: Typist, selector: str) -> None:
    """Tab goes round in what is modal; between last and first the browser itself may have the focus."""
    for _ in range(6):
        stop = await person.keys.tab()
        assert stop == Stop("", "") or await person.is_inside(selector), f"the focus is on “{stop.name}”"


async def signs_in(admin: Typist) -> None:
    await admin.keys.type("Email", admin.email)
    await admin.prove("/admin")


async def offers(merchant: Typist, name: str, base_url: str) -> None:
    """A new service, up to its submission."""
    await merchant.keys.follow("Services")
    await merchant.keys.follow("New service")
    for label, text in {
        "Name": name,
        "Description": "Where is it?",
        "Version": "1.0.0",
        "Base URL": base_url,
        "Amount each": "0.005",
    }.items():
        await merchant.keys.type(label, text)
    await merchant.keys.follow("Save draft")
    await expect(merchant.page.get_by_role("heading", name=name)).to_be_visible()
    await merchant.keys.follow("Submit for approval", key=" ")
    await expect(merchant.page.get_by_text("Pending approval").first).to_be_visible()


async def asks_for(consumer: Typist, name: str, tag: str) -> None:
    """Finds the service and requests access to it."""
    await consumer.page.goto("/marketplace")
    await consumer.keys.type("Search the marketplace", tag)
    await expect(consumer.page).to_have_url(re.compile(f"q={tag}"))
    await expect(consumer.page.locator("#results article")).to_have_count(1)
    await consumer.keys.follow(name)
    await consumer.keys.follow("Request access")
    await expect(consumer.page.get_by_text("You asked")).to_be_visible()


async def creates_and_copies_a_key(consumer: Typist, service: str) -> str:
    """The key's secret."""
    await consumer.page.goto("/dashboard/api-keys/new")
    await consumer.keys.type("Name", "Laptop")
    # The only service is chosen already: Space takes it away and gives it back.
    choice = consumer.page.get_by_label(service)
    await consumer.keys.use(service, key=" ")
    await expect(choice).not_to_be_checked()
    await consumer.keys.press(" ")
    await expect(choice).to_be_checked()
    await consumer.keys.follow("Create key")
    await consumer.keys.use("Copy Key")
    secret = re.search(r"ams_live_\w+", await consumer.page.locator("main").inner_text())
    assert secret
    assert await consumer.page.evaluate("navigator.clipboard.readText()") == secret.group(0)
    await consumer.keys.reach("curl")
    await consumer.keys.press("ArrowRight")
    assert (await consumer.keys.stop()).name == "Python"
    await consumer.keys.follow("I have saved it")
    await expect(consumer.page.get_by_role("heading", name="Laptop")).to_be_visible()
    return secret.group(0)


async def reads_what_was_used(consumer: Typist, requests: int, spent: str) -> None:
    """The figures tick until all has come."""
    await consumer.keys.follow("Usage")
    count = consumer.page.locator(".kpi").filter(has=consumer.page.get_by_text("Requests", exact=True))
    await expect(count.locator(".kpi-value")).to_have_text(str(requests))
    await consumer.keys.follow("Overview")
    await expect(consumer.page.locator("#kpi-spend .kpi-value")).to_have_text(spent)


async def reads_the_draft(merchant: Typist, service: str, amount: str) -> None:
    """Which has been there since the first call, by itself."""
    await merchant.keys.follow("Invoices")
    await merchant.keys.follow("Draft of")
    await expect(merchant.page.get_by_role("cell", name=service)).to_be_visible()
    await expect(merchant.page.get_by_role("main")).to_contain_text(amount)


async def reads_what_it_comes_to(consumer: Typist, service: str, amount: str) -> None:
    await consumer.keys.follow("Spend")
    await consumer.keys.follow("By key")
    await expect(consumer.page.get_by_role("cell", name=service)).to_be_visible()
    await expect(consumer.page.get_by_role("main")).to_contain_text(amount)


async def approves_what_is_ticked(admin: Typist, request: str) -> None:
    """On the page where several can be decided at once."""
    await admin.page.goto("/admin/requests")
    await admin.keys.use(request, key="Space")
    await admin.keys.follow("Approve")
    await expect(admin.page.get_by_text("One request is approved.")).to_be_visible()


async def revokes_the_key(consumer: Typist) -> None:
    await opens_and_closes(consumer, "Revoke", "#revoke")
    await consumer.keys.use("Revoke")
    await stays_inside(consumer, "#revoke")
    await consumer.keys.type("Type “Laptop”", "Laptop")
    await consumer.keys.follow("Revoke key")
    await expect(consumer.page.get_by_text("Revoked").first).to_be_visible()


async def test_the_story_needs_no_mouse(
    arrive: Arrival, upstream: Upstream, system: RunningSystem, http: aiohttp.ClientSession
) -> None:
    tag = secrets.token_hex(3)
    name = f"Geo {tag}"

    admin = await arrive(ADMIN_EMAIL, "/login", 1440)
    await signs_in(admin)
    await opens_and_closes(admin, "Account of", "#account")
    await skips_to_the_content(admin)
    await admin.page.goto("/admin/merchants")
    email = f"max-{tag}@example.com"
    await admin.keys.type("Email", email)
    await admin.keys.follow("Send invite")
    invitation = re.search(r"http\S+/register/merchant\?\S+", await admin.mail.next_text(email))
    assert invitation

    merchant = await arrive(email, invitation.group(0), 1440)
    await merchant.keys.type("Your name", "Max Muster")
    await merchant.keys.type("Company", f"Maps {tag}")
    await merchant.prove("/merchant")
    await offers(merchant, name, upstream.base_url)
    await admin.decide(name)

    consumer = await arrive(f"ann-{tag}@example.com", "/register", 1440)
    await consumer.keys.type("Your name", "Ann Ample")
    await consumer.keys.type("Email", consumer.email)
    await consumer.prove("/")
    await asks_for(consumer, name, tag)
    await approves_what_is_ticked(admin, f"{name}, from {consumer.email}")
    secret = await creates_and_copies_a_key(consumer, name)
    for _ in range(3):
        assert (await consume(http, system.gateway_url, secret, f"geo-{tag}")).status == 200
    await reads_what_was_used(consumer, 3, "€0.02")

    await reads_the_draft(merchant, name, "€0.02")
    await reads_what_it_comes_to(consumer, name, "€0.02")

    await consumer.keys.follow("API keys")
    await consumer.keys.follow("Laptop")
    await revokes_the_key(consumer)
    for person in (admin, merchant, consumer):
        await person.looks_right()


async def test_a_phone_with_a_keyboard_shows_every_stop(arrive: Arrival) -> None:
    admin = await arrive(ADMIN_EMAIL, "/login", 375)
    await signs_in(admin)
    await opens_and_closes(admin, "Navigation", "#side")
    await opens_and_closes(admin, "Account of", "#account")
    await skips_to_the_content(admin)
    await admin.page.reload()
    stops = await admin.keys.walk()
    assert {"Skip to content", "Navigation", "Overview"} <= set(stops)
    assert "Sign out" not in stops  # the menu is closed
    await admin.looks_right()
