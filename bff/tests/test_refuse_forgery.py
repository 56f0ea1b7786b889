"""Forms are taken only from our own pages, and only for the session they were made for."""

from typing import Any
from urllib.parse import urlencode

import pytest
from support.plain_browser import Browser

PATHS = [
    "/login",
    "/login/code",
    "/login/again",
    "/register",
    "/register/merchant",
    "/logout",
    "/role",
    "/theme",
]


def token_of(browser: Browser) -> str:
    return browser.get("/login").hidden("csrf")


@pytest.mark.parametrize("path", PATHS)
def test_a_form_without_a_token_is_refused(browsers: Any, path: str) -> None:
    browser = browsers.browser()
    browser.get("/login")
    answer = browser.send("POST", path, "email=a@b.example")
    assert answer.status == 403
    assert "This form has expired" in answer.text


@pytest.mark.parametrize("token", ["", "0" * 64, "é", "x" * 10_000])
def test_a_form_with_a_wrong_token_is_refused(browsers: Any, token: str) -> None:
    browser = browsers.browser()
    browser.get("/login")
    assert browser.send("POST", "/theme", urlencode({"theme": "dark", "csrf": token})).status == 403


def test_a_form_with_another_sessions_token_is_refused(browsers: Any) -> None:
    own, other = browsers.browser(), browsers.browser()
    own.get("/login")
    body = urlencode({"theme": "dark", "csrf": token_of(other)})
    assert own.send("POST", "/theme", body).status == 403
    assert browsers.browser().send("POST", "/theme", body).status == 403  # no cookie at all


def test_a_token_from_before_signing_in_is_refused_after(browsers: Any) -> None:
    browser = browsers.browser()
    old = token_of(browser)
    browsers.register(browser)
    assert browser.send("POST", "/logout", urlencode({"csrf": old})).status == 403
    assert 'action="/logout"' in browser.get("/marketplace").text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({}, 303),
    ],
)
def test_a_form_from_another_site_is_refused_even_with_the_token(
    browsers: Any, headers: dict[str, str], status: int
) -> None:
    browser = browsers.browser()
    body = urlencode({"theme": "dark", "back": "/login", "csrf": token_of(browser)})
    assert browser.send("POST", "/theme", body, headers).status == status


def test_our_own_origin_is_taken(browsers: Any) -> None:
    browser = browsers.browser()
    body = urlencode({"theme": "dark", "back": "/login", "csrf": token_of(browser)})
    origin = {"Origin": f"http://127.0.0.1:{browser.port}", "Sec-Fetch-Site": "same-origin"}
    answer = browser.send("POST", "/theme", body, origin)
    assert (answer.status, answer.location) == (303, "/login")
    assert 'data-theme="dark"' in browser.get("/login").text


@pytest.mark.parametrize("body", ["%zz=%ff", "\xfc=1", "&".join(f"f{n}=1" for n in range(600))])
def test_a_form_that_cannot_be_read_is_a_400_or_403(browsers: Any, body: str) -> None:
    browser = browsers.browser()
    browser.get("/login")
    assert browser.send("POST", "/login", body).status in (400, 403)


LEADS_AWAY = [
    "https://evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "/x\n/y",
    "javascript:alert(1)",
    "marketplace",
    "/" + "x" * 3000,
]


@pytest.mark.parametrize("path", LEADS_AWAY)
def test_next_never_leads_to_another_site(browsers: Any, path: str) -> None:
    browser = browsers.browser()
    answer = browser.post("/theme", theme="light", back=path)
    assert (answer.status, answer.location) == (303, "/")
    shown = browser.get(f"/login?{urlencode({'next': path})}")
    assert shown.hidden("next") == ""


def test_signing_in_leads_to_next_but_never_elsewhere(browsers: Any) -> None:
    def goes_to(path: str) -> str:
        browser = browsers.browser()
        browser.post("/register", "/register", email=f"n{abs(hash(path))}@a.example", name="N", next=path)
        return str(browsers.type_code(browser, f"n{abs(hash(path))}@a.example").location)

    assert goes_to("/marketplace?q=geo&tag=maps") == "/marketplace?q=geo&tag=maps"
    assert goes_to("//evil.example").startswith("/")
    assert "evil" not in goes_to("//evil.example/")
