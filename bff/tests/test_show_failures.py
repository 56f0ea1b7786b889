"""Errors are pages with the right status, and tell nothing of our insides."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from support.plain_browser import Browser

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}


@pytest.fixture
def alone(bff: Any) -> Browser:
    """In front of a BFF that has nobody behind it, not even Redis."""
    return Browser(bff.port)


@pytest.mark.parametrize(
    "path", ["/nope", "/dashboard/nope", "/marketplace/currency/nope", "/%00", "/static/x.js"]
)
def test_what_is_not_there_is_a_404_page(alone: Browser, path: str) -> None:
    page = alone.get(path)
    assert page.status == 404


def test_a_service_that_is_down_is_a_503_page_with_the_requests_number(alone: Browser) -> None:
    page = alone.get("/marketplace", **{"X-Request-Id": "looked-for"})
    assert page.status == 503
    assert "not reachable" in page.text
    assert "looked-for" in page.text
    assert "Traceback" not in page.text


def test_without_redis_who_has_a_session_gets_a_503_page_and_others_the_page(alone: Browser) -> None:
    assert alone.get("/login").status == 200
    alone.cookies["ams_session"] = "A" * 43
    page = alone.get("/login")
    assert page.status == 503
    assert "not reachable" in page.text


def test_without_redis_nobody_loses_the_cookie_of_their_session(alone: Browser) -> None:
    alone.cookies["ams_session"] = "A" * 43
    assert alone.get("/login").set_cookies == []


def test_a_form_that_cannot_be_served_now_is_a_503_page_that_keeps_it(start_bff: Any, redis_url: str) -> None:
    browser = Browser(start_bff(REDIS_URL=redis_url).port)
    fields = {"email": "a<b>@c.example", "next": "/marketplace"}
    page = browser.post("/register", "/login", name="Zoë", **fields)
    assert page.status == 503
    assert "What you typed is still here" in page.text
    assert 'value="a&lt;b&gt;@c.example"' in page.text


def test_a_form_of_nobodys_session_is_a_403_page(alone: Browser) -> None:
    token = alone.get("/login").hidden("csrf")
    alone.cookies.clear()
    assert alone.send("POST", "/login", f"csrf={token}").status == 403


def test_who_wants_no_html_gets_a_problem(bff: Any) -> None:
    assert bff.ask("GET", "/nope").code == "route_not_found"


def test_another_method_is_a_405_page(alone: Browser) -> None:
    page = alone.send("PUT", "/login")
    assert (page.status, page.headers["allow"]) == (405, "GET, HEAD, POST")


def test_what_is_only_read_is_a_405_page_too(alone: Browser) -> None:
    page = alone.send("POST", "/healthz", "a=b")
    assert (page.status, page.headers["allow"]) == (405, "GET, HEAD")
    assert "can&#39;t be used like that" in page.text


def test_an_unknown_service_and_a_malformed_one_are_404_pages(browsers: Any) -> None:
    for name in ("nothing-like-it", "%20", "x" * 300, "00000000-0000-0000-0000-000000000000"):
        page = browsers.browser().get(f"/marketplace/{name}")
        assert page.status == 404, name
        assert "There is no such page" in page.text


def test_signed_out_leads_to_signing_in_and_back(browsers: Any) -> None:
    browser = browsers.browser()
    answer = browser.post("/role", role="1")
    assert (answer.status, answer.location) == (303, "/login")


def test_who_lacks_the_role_gets_a_403_page(browsers: Any) -> None:
    admin = browsers.sign_in("admin@ams.example")
    admin.post("/role", "/marketplace", role="1")
    token = admin.get("/marketplace").hidden("csrf")
    merchant_only = admin.send("POST", "/role", urlencode({"csrf": token, "role": "2"}))
    assert merchant_only.status == 403
    assert "isn't open to you" in unescape(merchant_only.text)


@pytest.mark.parametrize("path", ["/", "/marketplace", "/login", "/register", "/nope", "/healthz"])
def test_every_page_has_the_headers_that_keep_it_safe(browsers: Any, path: str) -> None:
    headers = browsers.browser().get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    if path != "/healthz":
        assert set(headers["content-security-policy"].split("; ")) == POLICY
        assert headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/marketplace", "/login", "/register", "/nope"])
def test_no_page_has_an_inline_script_or_style(browsers: Any, path: str) -> None:
    text = browsers.browser().get(path).text
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:", text)
    assert all(re.search(r'\ssrc="/static/', tag) for tag in re.findall(r"<script[^>]*>", text))


def test_assets_are_named_by_content_and_kept_for_ever(browsers: Any) -> None:
    browser = browsers.browser()
    names = set(re.findall(r'(/static/[^"#]+)', browser.get("/login").text))
    assert len(names) >= 5
    for name in names:
        assert re.search(r"\.[A-Z0-9]{8}\.", name)
        asset = browser.get(name)
        assert asset.status == 200
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_styles_and_scripts_are_small(browsers: Any) -> None:
    from ams_bff.http.assets import Assets

    assets = Assets.load()
    packed = {
        name: len(assets._files[assets._names[name]].packed or b"")
        for name in ("ui.css", "ui.js", "palette.js", "htmx.js", "uplot.js", "chart.js", "live.js")
    }
    assert 0 < packed.pop("ui.css") < 25_000
    assert 0 < sum(packed.values()) < 60_000
