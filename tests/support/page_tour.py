"""Pages of a system with demo data, in a browser: what looks at every page begins here."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from ams_common.processes import GRPC_SERVERS
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from support import chromium, demo_data, signed_in_browser
from support.demo_data import DemoData
from support.running_system import RunningSystem, running

_NOBODY = "127.0.0.1:1"
_READY_S = 60


@dataclass(frozen=True, slots=True)
class PageTour:
    """The demo data with a browser in front of it. `sessions`: the session cookie of each person."""

    url: str
    demo_data: DemoData
    sessions: dict[str, str]
    browser: Browser

    def enter(self, person: str, **options: Any) -> BrowserContext:
        """A window of somebody who is signed in; of nobody for "". `options`: as Playwright has them."""
        context = self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(chromium.TIMEOUT_MS)
        if person:
            cookie = self.sessions[person]
            context.add_cookies([{"name": "ams_session", "value": cookie, "url": self.url}])
        return context


@contextmanager
def open_page_tour(
    admin_database_url: str, redis_url: str, kafka_bootstrap: str, directory: Path
) -> Iterator[PageTour]:
    """On a database and topics of its own. `directory`: for the images that are pushed."""
    with (
        running(admin_database_url, redis_url, kafka_bootstrap) as system,
        system.another_bff(*GRPC_SERVERS) as alone_url,
    ):
        built = asyncio.run(demo_data.build(system, kafka_bootstrap, directory))
        shown = DemoData(built.emails, {**built.ids, "alone": alone_url})
        sessions = asyncio.run(_sign_in(system, shown.emails))
        with sync_playwright() as playwright:
            browser = chromium.launch(playwright)
            yield PageTour(system.rest_url, shown, sessions, browser)
            browser.close()


async def _sign_in(system: RunningSystem, emails: Mapping[str, str]) -> dict[str, str]:
    async with aiohttp.ClientSession() as http:
        people = system.people(http)
        return {
            person: (await signed_in_browser.sign_in(system, people, email)).session
            for person, email in emails.items()
        }
