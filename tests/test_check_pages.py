"""The inspection of layouts tells what is wrong, and keeps quiet about what is meant."""

from collections.abc import Iterator

import pytest
from ams_local import tools
from playwright.sync_api import Page, sync_playwright
from support import chromium
from support.page_checks import layout_faults

_SMALL = "display: inline-block; height: 20px"


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """A finger's, 375 px wide."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tools.find("chromium"), args=chromium.CHROMIUM)
        yield browser.new_page(viewport={"width": 375, "height": 800}, has_touch=True)
        browser.close()


def told(tab: Page, body: str) -> list[str]:
    tab.set_content(f"<body style='margin: 0; font: 16px/20px sans-serif'>{body}</body>")
    return [fault.partition(":")[0] for fault in layout_faults(tab)]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<div style='width: 400px'>x</div>", "the page scrolls sideways by 25 px"),
        ("<p style='overflow: hidden; width: 40px; white-space: nowrap'>a long line</p>", "is cut off"),
        ("<p style='overflow: hidden; height: 20px'>two<br>lines</p>", "is cut off"),
        ("<table><td><a href='/'>A name in a table</a></table>", "px to hit"),
        (f"<p><a href='/' style='{_SMALL}'>Stands in a text</a> but not as text</p>", "px to hit"),
        ("<p><a href='/'>Above a line</a><br>of text</p>", "px to hit"),
        ("<button style='width: 60px; height: 30px'>A</button>", "px to hit"),
        (
            "<button style='width: 60px; height: 60px'>A</button>"
            "<button style='width: 60px; height: 60px; margin-left: -20px'>B</button>",
            "lie over each other",
        ),
    ],
)
def test_what_is_wrong_is_told(tab: Page, body: str, fault: str) -> None:
    assert any(one.endswith(fault) for one in told(tab, body))


@pytest.mark.parametrize(
    "body",
    [
        "<p>A link <a href='/'>within a sentence</a> is as tall as the sentence.</p>",
        "<style>a { position: relative } a::after { content: ''; position: absolute; inset: -20px }</style>"
        "<div style='padding: 50px'><a href='/'>Taken around itself</a></div>",
        "<p style='overflow: hidden; width: 9px; white-space: nowrap; text-overflow: ellipsis'>long</p>",
        "<div style='overflow: auto; width: 90px'><p style='width: 900px'>Scrolls</p></div>",
        "<button style='width: 60px; height: 60px'>A</button>"
        "<button style='width: 60px; height: 60px; position: fixed; left: 0; top: 0'>B</button>",
        "<label style='display: block; height: 40px'><input type='checkbox'> A box in a label</label>",
    ],
)
def test_what_is_meant_is_no_fault(tab: Page, body: str) -> None:
    assert told(tab, body) == []
