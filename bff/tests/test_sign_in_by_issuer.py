"""Signing in with an OpenID Connect issuer: a real one, as a process."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from ams_local import tools
from playwright.sync_api import sync_playwright
from support import chromium
from support.plain_browser import Browser, Page

SCRIPT = Path(__file__).with_name("oidc_provider.mjs")


@pytest.fixture(scope="module")
def acme(all_services: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    node = str(tools.node())
    about, log_path = all_services.acme.setting, tmp_path_factory.mktemp("acme") / "log"
    arguments = [
        str(all_services.acme.port),
        about["client_id"],
        about["client_secret"],
        all_services.acme.redirect_uri,
    ]
    with log_path.open("wb") as log:
        running = subprocess.Popen([node, SCRIPT, *arguments], stdout=log, stderr=log)
    try:
        all_services.wait_until(lambda: running.poll() is not None or b"listening" in log_path.read_bytes())
        assert running.poll() is None, log_path.read_text()
        yield all_services.acme
    finally:
        running.terminate()
        running.wait(20)


def new_login() -> str:
    return f"p{secrets.token_hex(6)}"


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def at_acme(acme: Any, url: str, login: str) -> str:
    """Signs in and consents as a person would; where the provider sends the browser at the end."""
    browser = Browser(acme.port)
    page = browser.send("GET", path_of(url))
    for _ in range(12):
        if page.location.startswith(acme.redirect_uri):
            return page.location
        if page.location:
            page = browser.send("GET", path_of(page.location))
            continue
        action = re.search(r'<form[^>]* action="([^"]+)"', page.text)
        assert action, page.text
        prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
        assert prompt, page.text
        fields = {"prompt": prompt[1], "login": login, "password": "any"}
        page = browser.send("POST", path_of(action[1]), urlencode(fields))
    raise AssertionError("the provider never sent the browser back")


def begin(browser: Browser, query: str = "") -> str:
    """The provider's address that the browser is sent to."""
    answer = browser.get(f"/login/with/acme{query}")
    assert answer.status == 303, answer.text
    return answer.location


def sign_in(acme: Any, browser: Browser, login: str, query: str = "") -> Page:
    return browser.get(path_of(at_acme(acme, begin(browser, query), login)))


def email_of(browser: Browser) -> str:
    found = re.search(r"[\w.]+@[\w.]+\.example", browser.get("/marketplace").text)
    return found[0] if found else ""


def test_the_sign_in_page_has_a_button_for_each_issuer(browsers: Any) -> None:
    page = browsers.browser().get("/login?next=/marketplace%3Fq%3Dgeo")
    assert "Continue with Acme" in page.text
    assert 'href="/login/with/acme?next=/marketplace%3Fq%3Dgeo"' in page.text


def test_the_browser_is_sent_with_pkce_state_and_nonce(acme: Any, browsers: Any) -> None:
    url = begin(browsers.browser())
    assert url.startswith(f"{acme.url}/auth?")
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == acme.redirect_uri
    assert "openid" in query["scope"].split()
    assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    other = {name: values[0] for name, values in parse_qs(urlsplit(begin(browsers.browser())).query).items()}
    assert all(query[name] != other[name] for name in ("state", "nonce", "code_challenge"))


def test_somebody_new_becomes_a_consumer_and_comes_back_as_the_same(acme: Any, browsers: Any) -> None:
    login, browser = new_login(), browsers.browser()
    before = browser.session
    answer = sign_in(acme, browser, login, "?next=/marketplace%3Fq%3Dx")
    assert (answer.status, answer.location) == (303, "/marketplace?q=x")
    assert browser.session != before
    assert email_of(browser) == f"{login}@acme.example"
    shown = browser.get("/marketplace").text
    assert '<span class="role-tag">Consumer</span>' in shown
    assert f"Dr. {login}" in shown
    again = browsers.browser()
    sign_in(acme, again, login)
    assert email_of(again) == f"{login}@acme.example"


def test_a_person_clicks_through_it_in_chromium(acme: Any, browsers: Any) -> None:
    """Nothing that a browser holds to, such as the policy of our pages, is in the way."""
    login, ours = new_login(), f"http://127.0.0.1:{browsers.all_services.bff.port}"
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        page = browser.new_page(base_url=ours)
        page.set_default_timeout(chromium.TIMEOUT_MS)
        page.on("console", lambda line: said.append(line.text) if page.url.startswith(ours) else None)
        page.goto("/login?next=/dashboard")
        page.get_by_role("link", name="Continue with Acme").click()
        page.get_by_placeholder("Enter any login").fill(login)
        page.get_by_placeholder("and password").fill("any")
        page.get_by_role("button", name="Sign-in").click()
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url("**/dashboard")
        page.get_by_role("button", name=f"Account of Dr. {login}").click()
        assert page.get_by_text(f"{login}@acme.example").is_visible()
        browser.close()
    assert said == []


def test_an_account_with_the_verified_address_is_the_same_account(acme: Any, browsers: Any) -> None:
    login, registered = new_login(), browsers.browser()
    email = f"{login}@acme.example"
    registered.post("/register", "/register", email=email, name="Registered Before")
    browsers.type_code(registered, email)
    browser = browsers.browser()
    sign_in(acme, browser, login)
    assert "Registered Before" in browser.get("/marketplace").text


def test_an_address_that_is_not_verified_signs_nobody_in(acme: Any, browsers: Any) -> None:
    browser = browsers.browser()
    assert sign_in(acme, browser, f"new{secrets.token_hex(6)}").location == "/login"
    assert "verified" in browser.get("/login").text
    assert email_of(browser) == ""


def test_an_answer_is_good_only_for_the_browser_that_asked_and_only_once(acme: Any, browsers: Any) -> None:
    browser, other = browsers.browser(), browsers.browser()
    back = path_of(at_acme(acme, begin(browser), new_login()))
    begin(other)
    assert other.get(back).location == "/login"
    assert browsers.browser().get(back).location == "/login"
    assert browser.get(back).location != "/login"
    browser.post("/logout", "/marketplace")
    assert browser.get(back).location == "/login"


@pytest.mark.parametrize(
    "change",
    [
        {"state": "x" * 43},
        {"code": "x" * 43},
        {"iss": "https://evil.example"},
        {"error": "access_denied", "code": ""},
    ],
)
def test_a_changed_answer_signs_nobody_in(acme: Any, browsers: Any, change: dict[str, str]) -> None:
    browser = browsers.browser()
    parts = urlsplit(at_acme(acme, begin(browser), new_login()))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | change
    assert browser.get(f"{parts.path}?{urlencode(query)}").location == "/login"
    assert email_of(browser) == ""


def test_a_code_of_another_sign_in_is_refused(acme: Any, browsers: Any) -> None:
    """Somebody else's code, put into one's own answer: PKCE holds."""
    mine, theirs = browsers.browser(), browsers.browser()
    own = parse_qs(urlsplit(at_acme(acme, begin(mine), new_login())).query)
    stolen = parse_qs(urlsplit(at_acme(acme, begin(theirs), new_login())).query)
    query = urlencode({"state": own["state"][0], "code": stolen["code"][0]})
    assert mine.get(f"/login/with/acme/return?{query}").location == "/login"
    assert email_of(mine) == ""


def test_each_tab_of_a_browser_has_its_own_way_back(acme: Any, browsers: Any) -> None:
    browser = browsers.browser()
    browser.get("/login")
    urls = [begin(browser, f"?next=/dashboard/{page}") for page in ("api-keys", "usage")]
    # A mailed code that is asked for in a third one takes nothing from them.
    browser.post("/login", email=f"{new_login()}@acme.example")
    login = new_login()
    answers = [at_acme(acme, url, login) for url in urls]
    first = browser.get(path_of(answers[0]))
    assert (first.status, first.location) == (303, "/dashboard/api-keys")


def test_a_tab_that_began_later_does_not_take_the_way_back_of_another(acme: Any, browsers: Any) -> None:
    browser = browsers.browser()
    browser.get("/login")
    urls = [begin(browser, f"?next=/dashboard/{page}") for page in ("api-keys", "usage")]
    answer = browser.get(path_of(at_acme(acme, urls[1], new_login())))
    assert (answer.status, answer.location) == (303, "/dashboard/usage")


def test_an_unknown_issuer_is_a_404_page(browsers: Any) -> None:
    assert browsers.browser().get("/login/with/nobody").status == 404
    assert browsers.browser().get("/login/with/NOBODY").status == 404
