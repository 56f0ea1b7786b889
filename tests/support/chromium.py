"""People with a window of a real browser: Chromium, driven by mouse and keyboard as they would."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from ams_local import tools
from ams_local.rest import Mailbox
from playwright import sync_api
from playwright.async_api import Browser, Page, async_playwright, expect

from support.running_system import RunningSystem

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-quic"]
CHROMIUM += ["--disable-background-networking", "--disable-component-update"]


# A machine that draws several windows at once, without a graphics card, is slow; what comes late has come.
TIMEOUT_MS = 90_000


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    expect.set_options(timeout=TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=tools.find("chromium"), args=CHROMIUM)
        yield browser
        await browser.close()


def launch(playwright: sync_api.Playwright) -> sync_api.Browser:
    """The same for who waits for each step."""
    return playwright.chromium.launch(executable_path=tools.find("chromium"), args=CHROMIUM)


class Person:
    """Somebody with a browser window of their own, and an eye on what goes wrong in it."""

    def __init__(self, page: Page, mail: Mailbox, email: str) -> None:
        self.page = page
        self.mail = mail
        self.email = email
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)

    @classmethod
    async def arrive(
        cls,
        browser: Browser,
        system: RunningSystem,
        mail: Mailbox,
        email: str,
        width: int = 1440,
        **options: Any,
    ) -> Self:
        """In a window of their own; `options`: more of Playwright's for its context."""
        context = await browser.new_context(
            **{
                "base_url": system.rest_url,
                "viewport": {"width": width, "height": 900},
                "reduced_motion": "reduce",
                **options,
            }
        )
        context.set_default_timeout(TIMEOUT_MS)
        return cls(await context.new_page(), mail, email)

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

    async def visit(self, place: str) -> None:
        """One of the main pages, by the navigation: at the side or the bottom, else in the drawer."""
        link = self.page.get_by_role("navigation").get_by_role("link", name=place, exact=True)
        shown = link.filter(visible=True)
        await self.page.get_by_role("main").wait_for()
        if not await shown.count():
            await self.press("Navigation")
        await shown.first.click()
        await expect(self.page.get_by_role("heading", name=place, level=1)).to_be_visible()

    async def give_code(self) -> None:
        """Reads the mailed code and types it."""
        await self.fill(code=await self.mail.next_code(self.email))
        await self.press("Continue")

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
