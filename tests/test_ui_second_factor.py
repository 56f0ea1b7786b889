"""Second factors in a real browser: passkeys by Chromium's virtual authenticator, codes without scripts."""

import re
import secrets
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import pyotp
import pytest
from ams_local.rest import People
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect
from support.plain_browser import Browser
from support.running_system import RunningSystem
from support.signed_in_browser import sign_in


@pytest.fixture
def people(system: RunningSystem, http: aiohttp.ClientSession) -> People:
    return system.people(http)


async def add_authenticator(page: Page, **options: Any) -> None:
    """A device that confirms whatever it is asked, as a person at it would."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    given = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": given | options})


async def open_sign_in(page: Page, people: People, email: str) -> None:
    await page.goto("/login")
    await page.get_by_label("Email").fill(email)
    await page.get_by_role("button", name="Mail me a code").click()
    await page.get_by_label("Code").fill(await people.mail.next_code(email))
    await page.get_by_role("button", name="Continue").click()


async def test_a_passkey_is_added_asked_for_and_removed(
    system: RunningSystem, people: People, browser: Chromium
) -> None:
    email = f"passkey-{secrets.token_hex(4)}@example.com"
    await people.register_consumer(email)
    # Passkeys are bound to a host name, which an address is none.
    base_url = system.rest_url.replace("127.0.0.1", "localhost")
    context = await browser.new_context(base_url=base_url)
    page = await context.new_page()
    await add_authenticator(page)
    await open_sign_in(page, people, email)
    await expect(page).to_have_url(re.compile("/dashboard"))

    await page.goto("/settings/security")
    await page.get_by_role("button", name="Add a passkey").click()
    await page.get_by_label("Name").fill("Laptop")
    await page.get_by_role("button", name="Add the passkey").click()
    await expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()
    await page.get_by_role("link", name="I have saved them").click()
    await expect(page.get_by_role("cell", name="Laptop")).to_be_visible()

    await page.context.clear_cookies(name="ams_session")
    await open_sign_in(page, people, email)
    await expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    await page.get_by_role("button", name="Use a passkey").click()
    await expect(page).to_have_url(re.compile("/dashboard"))

    await page.goto("/settings/security")
    await page.get_by_role("row", name="Laptop").get_by_role("button", name="Remove").click()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    # The mails come once what they tell of is in the account.
    for told in ("can prove it with this second factor", "asked for any more"):
        assert "Laptop" in await people.mail.next_text(email, re.compile(told))
    await page.goto("/notifications")
    await expect(page.get_by_role("link", name="A passkey was added to your account")).to_be_visible()
    await context.close()


async def test_another_browsers_passkey_lets_nobody_in(
    system: RunningSystem, people: People, browser: Chromium
) -> None:
    email = f"passkey-{secrets.token_hex(4)}@example.com"
    await people.register_consumer(email)
    base_url = system.rest_url.replace("127.0.0.1", "localhost")
    mine, theirs = [await browser.new_context(base_url=base_url) for _ in range(2)]
    page = await mine.new_page()
    await add_authenticator(page)
    await open_sign_in(page, people, email)
    await expect(page).to_have_url(re.compile("/dashboard"))
    await page.goto("/settings/security")
    await page.get_by_role("button", name="Add a passkey").click()
    await page.get_by_role("button", name="Add the passkey").click()
    await expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()

    stranger = await theirs.new_page()
    await add_authenticator(stranger)
    await open_sign_in(stranger, people, email)
    await stranger.get_by_role("button", name="Use a passkey").click()
    await expect(stranger.get_by_text("Your browser gave no passkey")).to_be_visible()
    await stranger.goto("/dashboard")
    await expect(stranger).to_have_url(re.compile("/login"))
    await mine.close()
    await theirs.close()


def present_code(secret: str) -> str:
    return pyotp.TOTP(secret).at(datetime.now(UTC))


def sign_out(browser: Browser) -> None:
    assert browser.post("/logout", "/settings/security").status == 303


async def test_an_app_and_recovery_codes_work_without_scripts(system: RunningSystem, people: People) -> None:
    email = f"app-{secrets.token_hex(4)}@example.com"
    await people.register_consumer(email)
    browser = await sign_in(system, people, email)
    security = "/settings/security"
    assert browser.post(f"{security}/totp/start", security).location == f"{security}/totp"
    page = browser.get(f"{security}/totp")
    assert "<svg" in page.text
    secret = re.search(r'data-copy="([A-Z2-7]{32})"', page.text)
    assert secret
    wrong = browser.post(f"{security}/totp", f"{security}/totp", totp_code="000000")
    assert wrong.status in (400, 409) and secret[1] in wrong.text
    added = browser.post(f"{security}/totp", f"{security}/totp", totp_code=present_code(secret[1]))
    codes = re.findall(r"<li>([0-9A-Z-]{14})</li>", added.text)
    assert len(codes) == 10

    sign_out(browser)
    browser.post("/login", "/login", email=email)
    code = await people.mail.next_code(email)
    asked = browser.post("/login/code", "/login/code", code=code, next="")
    assert asked.location == "/login/second-factor"
    assert browser.get("/dashboard").location.startswith("/login")
    refused = browser.post("/login/second-factor", "/login/second-factor", totp_code="000000")
    assert refused.status == 401 and "not valid" in refused.text
    done = browser.post("/login/second-factor", "/login/second-factor", recovery_code=codes[0])
    assert (done.status, done.location) == (303, "/dashboard")
    assert "9 left" in browser.get(security).text


async def test_changing_factors_asks_for_one_first(system: RunningSystem, people: People) -> None:
    email = f"app-{secrets.token_hex(4)}@example.com"
    await people.register_consumer(email)
    browser = await sign_in(system, people, email)
    security = "/settings/security"
    browser.post(f"{security}/totp/start", security)
    secret = re.search(r'data-copy="([A-Z2-7]{32})"', browser.get(f"{security}/totp").text)
    assert secret
    added = browser.post(f"{security}/totp", f"{security}/totp", totp_code=present_code(secret[1]))
    [recovery_code, *_] = re.findall(r"<li>([0-9A-Z-]{14})</li>", added.text)
    database_url = system.database_urls["identity"]
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE sessions SET second_factor_at = now() - interval '11 minutes'")
    await connection.close()
    assert "Second factors are locked" in browser.get(security).text
    assert browser.post(f"{security}/remove", security).location == f"{security}/confirm"
    confirm = f"{security}/confirm"
    assert browser.post(confirm, confirm, recovery_code=recovery_code).location == security
    assert browser.post(f"{security}/remove", security).location == security
    assert "Add an app" in browser.get(security).text
