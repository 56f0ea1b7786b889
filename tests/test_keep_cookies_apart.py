"""The gateway keeps from merchants exactly those cookies that the web UI sets on the host they may share."""

import re
from pathlib import Path

from ams_bff.http.cookies import DeviceCookie, SessionCookie, keep_theme
from ams_common.web import COOKIE_NAMES
from starlette.requests import Request
from starlette.responses import Response

BFF = Path(__file__).parent.parent / "bff/ams_bff"
# The one module, and the one script, that set any: a new place has to be added to this test.
SETTING = {"http/cookies.py", "assets/ui.js"}


def set_by_responses() -> set[str]:
    response = Response()
    for is_https in (True, False):
        SessionCookie(is_https).write(response, "secret")
        DeviceCookie(is_https).add(Request({"type": "http", "headers": []}), response, "token")
        keep_theme(response, "dark", is_https)
    lines = [value.decode() for name, value in response.raw_headers if name == b"set-cookie"]
    return {line.partition("=")[0] for line in lines}


def set_by_scripts() -> set[str]:
    return set(re.findall(r"document\.cookie = `(\w+)=", (BFF / "assets/ui.js").read_text()))


def test_the_gateway_knows_every_cookie_that_the_web_ui_sets_and_no_other() -> None:
    assert set_by_scripts()
    assert set_by_responses() | set_by_scripts() == COOKIE_NAMES


def test_cookies_are_set_in_no_other_place() -> None:
    sets_one = re.compile(r"set_cookie\(|[\"']set-cookie[\"'],|document\.cookie\s*=[^=]", re.IGNORECASE)
    sources = [*BFF.rglob("*.py"), *(BFF / "assets").rglob("*.js"), *BFF.rglob("*.html")]
    found = {str(path.relative_to(BFF)) for path in sources if sets_one.search(path.read_text())}
    assert found == SETTING
