"""The scene with a browser in front of it: what looks at every page begins here."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from ams_common import ports
from ams_common.processes import GRPC_SERVERS
from ams_local.processes import Daemon
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from support import chromium, demo_data, running_system, signed_in_browser
from support.demo_data import Scene
from support.rest_clients import Mailbox, People, Rest

_NOBODY = "127.0.0.1:1"
_READY_S = 60


@dataclass(frozen=True, slots=True)
class Gallery:
    """`sessions`: the session cookie of each person of the scene."""

    url: str
    scene: Scene
    sessions: dict[str, str]
    browser: Browser

    def enter(self, person: str, **options: Any) -> BrowserContext:
        """A window of somebody who is signed in; of nobody for "". `options`: as Playwright has them."""
        context = self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(chromium.PATIENCE_MS)
        if person:
            cookie = self.sessions[person]
            context.add_cookies([{"name": "ams_session", "value": cookie, "url": self.url}])
        return context


@contextmanager
def opened(
    admin_database_url: str, redis_url: str, kafka_bootstrap: str, directory: Path
) -> Iterator[Gallery]:
    """On a database and topics of its own. `directory`: for the images that are pushed."""
    with (
        running_system.running(admin_database_url, redis_url, kafka_bootstrap) as world,
        _alone(world) as alone_url,
    ):
        built = asyncio.run(demo_data.build(world, kafka_bootstrap, directory))
        scene = Scene(built.emails, {**built.ids, "alone": alone_url})
        sessions = asyncio.run(_sign_in(world, scene))
        with sync_playwright() as playwright:
            browser = chromium.launch(playwright)
            yield Gallery(world.rest_url, scene, sessions, browser)
            browser.close()


@contextmanager
def _alone(world: running_system.World) -> Iterator[str]:
    """The address of a second BFF, behind which no service is."""
    program, run_directory, port = world.programs["ams-bff"], world.system.run_directory, ports.free_port()
    url = f"http://127.0.0.1:{port}"
    own = {"BFF_LISTEN": f"127.0.0.1:{port}", "BFF_PUBLIC_URL": url}
    nobody = {server.variable("ADDRESS"): _NOBODY for server in GRPC_SERVERS.values()}
    log = run_directory / "bff-alone.log"
    environment = {**program.environment, **nobody, **own}
    daemon = Daemon("bff-alone", program.command, log=log, directory=run_directory, env=environment)
    try:
        daemon.wait_until(lambda: ports.is_listening(port), _READY_S)
        yield url
    finally:
        daemon.stop()


async def _sign_in(world: running_system.World, scene: Scene) -> dict[str, str]:
    async with aiohttp.ClientSession() as http:
        people = People(Rest(http, world.rest_url), Mailbox(http, world.mail_url, world.read_mails))
        return {
            person: (await signed_in_browser.sign_in(world, people, email)).session
            for person, email in scene.emails.items()
        }
