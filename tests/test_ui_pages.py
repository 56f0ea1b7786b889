"""Every page at five widths, light and dark: nothing scrolls sideways, sticks out, is cut off or is too small
to tap; axe-core and the console have nothing to say. `make screenshots` runs this and keeps the pictures."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from ams_bff.views import VIEWS
from playwright.sync_api import CDPSession, ConsoleMessage, Dialog, Error, ViewportSize
from playwright.sync_api import Page as Tab
from starlette.routing import compile_path
from support.page_checks import accessibility_faults, contrast_faults, layout_faults
from support.page_list import PAGES, Page
from support.page_tour import PageTour, open_page_tour


@dataclass(frozen=True, slots=True)
class Device:
    """What a page is looked at with. Fingers need more room than a mouse."""

    widths_px: tuple[int, ...]
    has_touch: bool

    def widths_of(self, page: Page) -> list[int]:
        """Where the page is looked at."""
        return [width for width in self.widths_px if not page.widths_px or width in page.widths_px]


@dataclass(frozen=True, slots=True)
class Window:
    """Somebody's window, which is on a device and goes from page to page: making one costs as much as several
    loads."""

    tab: Tab
    emulation: CDPSession

    def use(self, device: Device) -> None:
        """From now on it is pointed at as on the device."""
        self.emulation.send(
            "Emulation.setTouchEmulationEnabled", {"enabled": device.has_touch, "maxTouchPoints": 1}
        )
        assert self.tab.evaluate("matchMedia('(pointer: coarse)').matches") is device.has_touch

    def resize(self, width_px: int) -> None:
        self.tab.set_viewport_size(ViewportSize(width=width_px, height=900))

    @contextmanager
    def listening(self) -> Iterator[tuple[list[str], list[str]]]:
        """What scripts fail with, and the errors that the console tells, meanwhile."""
        failures: list[str] = []
        said: list[str] = []

        def fail(error: Error) -> None:
            failures.append(f"script: {error}")

        def hear(line: ConsoleMessage) -> None:
            if line.type == "error":
                said.append(line.text)

        self.tab.on("pageerror", fail)
        self.tab.on("console", hear)
        try:
            yield failures, said
        finally:
            self.tab.remove_listener("pageerror", fail)
            self.tab.remove_listener("console", hear)


# From the widest down, so that axe-core looks at a phone; the widths are the PRD's (NFR5).
TOUCH, MOUSE = Device((1024, 768, 375, 320), has_touch=True), Device((1440,), has_touch=False)
# Answers that aren't pages: files, parts of a page, and ways to elsewhere.
_NO_PAGES = (
    "/table.csv",
    "/chart.csv",
    "/live/{etag}",
    "/document/{format}",
    "/proof",
    "/palette",
    "/notifications/unread",
    "/return",
    "/find",
    "/{report_id}/file",
    "/openapi/file",
    "/openapi.json",
)
_ELSEWHERE = ("/", "/settings", "/login/with/{issuer}")


@pytest.fixture(scope="module")
def tour(
    admin_database_url: str, redis_url: str, kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PageTour]:
    directory = tmp_path_factory.mktemp("images")
    with open_page_tour(admin_database_url, redis_url, kafka_bootstrap, directory) as tour:
        yield tour


@pytest.fixture(scope="module")
def pictures() -> Path | None:
    """Where the pictures go, if they are wanted."""
    wanted = os.environ.get("SCREENSHOTS")
    if not wanted:
        return None
    Path(wanted).mkdir(parents=True, exist_ok=True)
    return Path(wanted)


Enter = Callable[[str], Window]


@pytest.fixture(scope="module")
def enter(tour: PageTour) -> Enter:
    """Somebody's window: the same one each time, which has kept the styles and scripts."""

    @cache
    def window_of(person: str) -> Window:
        context = tour.enter(person, color_scheme="light", reduced_motion="reduce")
        tab = context.new_page()
        # What was typed on the page before needn't be kept.
        tab.on("dialog", Dialog.accept)
        return Window(tab, context.new_cdp_session(tab))

    return window_of


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_good_at_every_width(
    tour: PageTour, enter: Enter, pictures: Path | None, page: Page
) -> None:
    faults: list[str] = []
    window = enter(page.person)
    tab, is_open = window.tab, False
    with window.listening() as (failures, said):
        for device in (TOUCH, MOUSE):
            widths_px = device.widths_of(page)
            if not widths_px:
                continue
            window.use(device)
            window.resize(widths_px[0])
            tab.emulate_media(color_scheme="light")
            # The markup is one for all devices; what was done on it isn't, as what hangs at a button.
            if not is_open or page.act:
                _open(tour, tab, page)
                is_open = True
            for width in widths_px:
                window.resize(width)
                faults += [f"{width} px: {fault}" for fault in layout_faults(tab)]
                if pictures:
                    _take(tab, page, pictures / f"{page.name}-{width}")
            if device is TOUCH:
                faults += [f"no file: {href}" for href in _files(tab) if not _is_file(tab, href)]
                faults += [f"axe-core: {fault}" for fault in accessibility_faults(tab)]
                tab.emulate_media(color_scheme="dark")
                faults += [f"axe-core, dark: {fault}" for fault in contrast_faults(tab)]
    faults += failures
    # Chromium's console tells of every answer with an error's status, also where that is what is meant.
    is_refused = page.status != 200 or page.act
    faults += [f"console: {line}" for line in said if not (is_refused and "Failed to load resource" in line)]
    assert not faults, "\n".join(faults)


def _open(tour: PageTour, tab: Tab, page: Page) -> None:
    answer = tab.goto(tour.demo_data.path(page.path))
    assert answer
    assert answer.status == page.status
    if page.act:
        page.act(tab)
    tab.evaluate("document.fonts.ready")


def _files(tab: Tab) -> set[str]:
    """What the page offers to keep."""
    return {str(link.get_attribute("href")) for link in tab.locator("a[download]").all()}


def _is_file(tab: Tab, href: str) -> bool:
    answer = tab.request.get(href)
    return answer.ok and answer.headers["content-type"].startswith("text/csv")


def _take(tab: Tab, page: Page, path: Path) -> None:
    """Both themes. A window as tall as the page shows bars at its edges where they belong."""
    size = tab.viewport_size
    assert size
    if not page.is_overlay:
        height = tab.evaluate("document.documentElement.scrollHeight")
        tab.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
    for theme in ("dark", "light"):
        tab.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        tab.screenshot(path=path.with_name(f"{path.name}-{theme}.png"), animations="disabled")
    tab.set_viewport_size(size)


def test_every_view_that_is_a_page_is_looked_at() -> None:
    looked_at = [page.path.partition("?")[0] for page in PAGES]
    missed = [
        view.path
        for view in VIEWS
        if view.method == "GET" and not view.path.endswith(_NO_PAGES) and view.path not in _ELSEWHERE
        if not any(compile_path(view.path)[0].match(path) for path in looked_at)
    ]
    # Where other pages lead to: the code's page is the one after "Mail me a code", and second factors are
    # asked for in test_ui_second_factor.
    assert sorted(missed) == [
        "/login/code",
        "/login/second-factor",
        "/settings/security/confirm",
        "/settings/security/passkey",
        "/settings/security/totp",
    ]
