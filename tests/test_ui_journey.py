"""The same journey, by a person's hands: clicked through in Chromium on a phone and on a wide screen."""

import re
import secrets

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from playwright.async_api import Browser, expect
from support.chromium import Person
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import consume
from support.upstream_api import Upstream


@pytest.mark.parametrize("width", [375, 1440])
async def test_from_the_invitation_mail_to_the_invoice(
    width: int, browser: Browser, system: RunningSystem, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    mail = system.mailbox(http)
    tag = secrets.token_hex(3)
    name = f"Geo {tag}"

    async def arrive(email: str) -> Person:
        return await Person.arrive(browser, system, mail, email, width)

    admin = await arrive(ADMIN_EMAIL)
    await admin.page.goto("/")
    await admin.press("Sign in")
    await admin.fill(email=ADMIN_EMAIL)
    await admin.press("Mail me a code")
    await admin.give_code()
    await admin.visit("Overview")
    await admin.looks_right()

    merchant = await arrive(f"max-{tag}@example.com")
    await admin.visit("Merchants")
    await admin.fill(email=merchant.email)
    await admin.press("Send invite")
    invitation = re.search(r"http\S+/register/merchant\?\S+", await mail.next_text(merchant.email))
    assert invitation
    await merchant.page.goto(invitation.group(0))
    await merchant.fill(your_name="Max Muster", company=f"Maps {tag}")
    await merchant.press("Mail me a code")
    await merchant.give_code()
    await expect(merchant.page).to_have_url(re.compile("/merchant"))

    await merchant.visit("Services")
    await merchant.press("New service")
    await merchant.fill(
        name=name,
        description="Where is it? Coordinates of any address.",
        version="1.0.0",
        base_URL=upstream.base_url,
        documentation="https://docs.example/geo",
        amount_each="0.005",
    )
    await expect(merchant.page.locator("#preview")).to_contain_text("€")
    await merchant.press("Save draft")
    await merchant.press("Submit for approval")
    await expect(merchant.page.get_by_text("Pending approval").first).to_be_visible()
    await merchant.looks_right()

    await admin.visit("Overview")
    await admin.approve(name)

    consumer = await arrive(f"ann-{tag}@example.com")
    await consumer.page.goto("/")
    await consumer.press("Sign in")
    await consumer.press("Register")
    await consumer.fill(email=consumer.email, your_name="Ann Ample")
    await consumer.press("Mail me a code")
    await consumer.give_code()
    await consumer.visit("Marketplace")
    await consumer.page.get_by_role("searchbox").fill(tag)
    await consumer.page.get_by_role("main").get_by_role("link", name=name).click()
    await consumer.press("Request access")
    await expect(consumer.page.get_by_text("You asked")).to_be_visible()
    await consumer.looks_right()

    await admin.visit("Overview")
    await admin.approve(consumer.email)
    await admin.looks_right()

    await consumer.visit("API keys")
    await consumer.press("Create your first key")
    await consumer.fill(name="Laptop")
    await consumer.page.get_by_role("checkbox").first.check()
    await consumer.press("Create key")
    await expect(consumer.page.get_by_role("heading", name="Your new key")).to_be_visible()
    secret = re.search(r"ams_live_\w+", await consumer.page.locator("main").inner_text())
    assert secret
    await consumer.looks_right()
    await consumer.press("I have saved it")
    await expect(consumer.page.get_by_role("heading", name="Laptop")).to_be_visible()
    assert secret.group(0) not in await consumer.page.content()

    slug = f"geo-{tag}"
    for _ in range(3):
        assert (await consume(http, system.gateway_url, secret.group(0), slug)).status == 200
    assert len(upstream.received) == 3

    await consumer.visit("Usage")
    requests = consumer.page.locator(".kpi").filter(has=consumer.page.get_by_text("Requests", exact=True))
    await expect(requests.locator(".kpi-value")).to_have_text("3")  # it ticks
    await consumer.looks_right()

    async def is_drafted() -> bool:
        await merchant.visit("Invoices")
        amounts = merchant.page.get_by_role("cell", name="€0.02")
        return await amounts.count() > 0

    await eventually(is_drafted)  # 3 × 0.005 = 0.015, half-even: 0.02
    await merchant.page.locator("tbody a").first.click()
    await expect(merchant.page.get_by_role("cell", name=name)).to_be_visible()
    assert "ann-" not in await merchant.page.content()
    await merchant.looks_right()

    await consumer.visit("Spend")
    await expect(consumer.page.get_by_role("cell", name=name)).to_be_visible()
    await expect(consumer.page.locator(".kpi-value")).to_contain_text("€0.02")
    await consumer.looks_right()
