"""People at the web UI: without scripts, or in a window of a real browser."""

from typing import Any

from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext

from support.plain_browser import Browser
from support.rest_clients import People
from support.running_system import World


async def sign_in(world: World, people: People, email: str) -> Browser:
    """Somebody who has an account, signed in with the mailed code."""
    browser = Browser(world.system.port("ams-bff"))
    assert browser.post("/login", "/login", email=email).location == "/login/code"
    code = await people.mail.next_code(email)
    assert browser.post("/login/code", "/login/code", code=code).status == 303
    return browser


async def open_window(
    chromium: Chromium, world: World, people: People, email: str, **options: Any
) -> BrowserContext:
    """Of somebody signed in; `options`: more of Playwright's."""
    cookies = (await sign_in(world, people, email)).cookies
    context = await chromium.new_context(base_url=world.rest_url, **options)
    await context.add_cookies(
        [{"name": name, "value": value, "url": world.rest_url} for name, value in cookies.items()]
    )
    return context
