"""People at the web UI: without scripts, or in a window of a real browser."""

from typing import Any

from ams_local.rest import People
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext

from support.plain_browser import Browser
from support.running_system import RunningSystem


async def sign_in(system: RunningSystem, people: People, email: str) -> Browser:
    """Somebody who has an account, signed in with the mailed code."""
    browser = Browser(system.port("ams-bff"))
    assert browser.post("/login", "/login", email=email).location == "/login/code"
    code = await people.mail.next_code(email)
    assert browser.post("/login/code", "/login/code", code=code).status == 303
    return browser


async def open_window(
    chromium: Chromium, system: RunningSystem, people: People, email: str, **options: Any
) -> BrowserContext:
    """Of somebody signed in; `options`: more of Playwright's."""
    cookies = (await sign_in(system, people, email)).cookies
    context = await chromium.new_context(base_url=system.rest_url, **options)
    await context.add_cookies(
        [{"name": name, "value": value, "url": system.rest_url} for name, value in cookies.items()]
    )
    return context
