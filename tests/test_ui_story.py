"""The story once more, by a person's hands: clicked through in Chromium on a phone and on a wide screen."""

import re
import secrets
from collections.abc import AsyncIterator

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local import tools
from merchant import Upstream
from people import Mailbox, consume
from playwright.async_api import Browser, Page, async_playwright, expect
from world import ADMIN_EMAIL, World

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-quic"]
CHROMIUM += ["--disable-background-networking", "--disable-component-update"]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=tools.find("chromium"), args=CHROMIUM)
        yield browser
        await browser.close()


class Person:
    """Somebody with a browser window of their own, and an eye on what goes wrong in it."""

    def __init__(self, page: Page, mail: Mailbox, email: str) -> None:
        self.page = page
        self.mail = mail
        self.email = email
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)

    async def fill(self, **values: str) -> None:
        """Types into the controls with these labels ("base_url" for "Base URL")."""
        for label, value in values.items():
            words = re.compile(f"^{label.replace('_', ' ')}", re.IGNORECASE)
            await self.page.get_by_label(words).first.fill(value)

    async def press(self, name: str) -> None:
        """The button, or the link, with this name."""
        button = self.page.get_by_role("button", name=name, exact=True)
        link = self.page.get_by_role("link", name=name, exact=True)
        await button.or_(link).first.click()

    async def give_code(self) -> None:
        """Reads the mailed code and types it."""
        await self.fill(code=await self.mail.next_code(self.email))
        await self.press("Go on")

    async def approve(self, text: str) -> None:
        """The item of the admins' queue that has this text in it."""
        item = self.page.get_by_role("listitem").filter(has_text=text)
        button = item.get_by_role("button", name="Approve")
        await button.click()
        await expect(button).to_have_count(0)

    async def looks_right(self) -> None:
        """No horizontal scroll, and nothing has gone wrong so far."""
        overflow = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{self.page.url} scrolls sideways by {overflow} px"
        assert self.faults == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("width", [375, 1440])
async def test_from_the_invitation_mail_to_the_invoice(
    width: int, browser: Browser, world: World, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    mail = Mailbox(http, world.mail_url, world.read_mails)
    tag = secrets.token_hex(3)
    name = f"Geo {tag}"

    async def arrive(email: str) -> Person:
        context = await browser.new_context(
            base_url=world.rest_url, viewport={"width": width, "height": 900}, reduced_motion="reduce"
        )
        return Person(await context.new_page(), mail, email)

    admin = await arrive(ADMIN_EMAIL)
    await admin.page.goto("/login")
    await admin.fill(email=ADMIN_EMAIL)
    await admin.press("Mail me a code")
    await admin.give_code()
    await expect(admin.page).to_have_url(re.compile("/admin"))
    await admin.looks_right()

    merchant = await arrive(f"max-{tag}@example.com")
    await admin.page.goto("/admin/merchants")
    await admin.fill(email=merchant.email)
    await admin.press("Send invite")
    invitation = re.search(r"http\S+/register/merchant\?\S+", await mail.next_text(merchant.email))
    assert invitation
    await merchant.page.goto(invitation.group(0))
    await merchant.fill(your_name="Max Muster", company=f"Maps {tag}")
    await merchant.press("Mail me a code")
    await merchant.give_code()
    await expect(merchant.page).to_have_url(re.compile("/merchant"))

    await merchant.page.goto("/merchant/services/new")
    await merchant.fill(
        name=name,
        description="Where is it? Coordinates of any address.",
        version="1.0.0",
        base_URL=upstream.base_url,
        documentation="https://docs.example/geo",
        price_per_request="0.005",
    )
    await expect(merchant.page.locator("#preview")).to_contain_text("€")
    await merchant.press("Save draft")
    await merchant.press("Submit for approval")
    await expect(merchant.page.get_by_text("Pending approval").first).to_be_visible()
    await merchant.looks_right()

    await admin.page.goto("/admin")
    await admin.approve(name)

    consumer = await arrive(f"ann-{tag}@example.com")
    await consumer.page.goto("/register")
    await consumer.fill(email=consumer.email, your_name="Ann Ample")
    await consumer.press("Mail me a code")
    await consumer.give_code()
    await consumer.page.goto(f"/marketplace?q={tag}")
    await consumer.page.get_by_role("link", name=name).first.click()
    await consumer.press("Request access")
    await consumer.looks_right()

    await admin.page.goto("/admin")
    await admin.approve(consumer.email)
    await admin.looks_right()

    await consumer.page.goto("/dashboard/api-keys/new")
    await consumer.fill(name="Laptop")
    await consumer.page.get_by_role("checkbox").first.check()
    await consumer.press("Create key")
    secret = re.search(r"ams_live_\w+", await consumer.page.locator("main").inner_text())
    assert secret
    await consumer.looks_right()
    await consumer.press("I have kept it")
    assert secret.group(0) not in await consumer.page.content()

    slug = f"geo-{tag}"
    for _ in range(3):
        assert (await consume(http, world.gateway_url, secret.group(0), slug)).status == 200
    assert len(upstream.received) == 3

    async def usage_shows() -> bool:
        await consumer.page.goto("/dashboard/usage")
        return bool(re.search(r"\b3\b", await consumer.page.locator("main").inner_text()))

    await eventually(usage_shows)
    await consumer.looks_right()

    async def invoice_shows() -> bool:
        await merchant.page.goto("/merchant/invoices")
        await merchant.press("Make drafts")
        await merchant.page.get_by_role("dialog").get_by_role("button", name="Make drafts").click()
        await merchant.page.locator("tbody a").first.click()
        text = await merchant.page.locator("main").inner_text()
        return name in text and "0.02" in text  # 3 × 0.005 = 0.015, half-even: 0.02

    await eventually(invoice_shows)
    assert "ann-" not in await merchant.page.content()
    await merchant.looks_right()
