"""Sessions: opaque cookies, renewed tokens, an end that is one."""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from cryptography.fernet import Fernet
from redis import Redis
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"
SEALER = Sealer(DEVELOPMENT_SEALING_KEYS)


@pytest.fixture
def kept(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def redis_key(browser: Browser) -> str:
    return f"ams:session:{{{hashlib.sha256(browser.session.encode()).hexdigest()}}}"


def stored(kept: Redis, browser: Browser) -> Any:
    """What lies sealed in Redis."""
    return json.loads(SEALER.unseal(str(kept.get(redis_key(browser))).encode()))


def is_signed_in(browser: Browser) -> bool:
    return 'action="/logout"' in browser.get("/marketplace").text


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(browsers: Any) -> None:
    [cookie] = browsers.browser().get("/login").set_cookies
    assert re.fullmatch(
        r"ams_session=[A-Za-z0-9_-]{43}; HttpOnly; Max-Age=2592000; Path=/; SameSite=lax", cookie
    )


def test_what_redis_holds_gives_nobody_a_token(kept: Redis, browsers: Any) -> None:
    browser = browsers.register()
    tokens = stored(kept, browser)["tokens"]
    text = str(kept.get(redis_key(browser)))
    assert tokens["access_token"] not in text
    assert tokens["refresh_token"] not in text
    # Sealed with a key that is unknown by now: as if there were none.
    kept.set(redis_key(browser), Sealer([Fernet.generate_key().decode()]).seal(b"{}"), keepttl=True)
    assert not is_signed_in(browser)


def test_over_https_the_cookie_is_secure_and_bound_to_the_host(start_bff: Any) -> None:
    bff = start_bff(BFF_PUBLIC_URL="https://ams.example")
    [cookie] = Browser(bff.port).get("/login").set_cookies
    assert cookie.startswith("__Host-ams_session=")
    assert "Secure" in cookie
    assert "Path=/;" in cookie
    assert "Domain" not in cookie


def test_signing_in_gives_a_new_cookie_and_ends_the_old_session(browsers: Any) -> None:
    browser = browsers.browser()
    browser.get("/login")
    before = browser.session
    browsers.register(browser)
    assert browser.session != before
    assert is_signed_in(browser)
    assert not is_signed_in(Browser(browser.port, {"ams_session": before}))


def test_redis_holds_neither_the_cookie_nor_a_session_of_mere_visitors(browsers: Any, kept: Redis) -> None:
    visitor = browsers.browser()
    visitor.get("/login")
    assert not kept.exists(redis_key(visitor))
    member = browsers.register()
    assert kept.exists(redis_key(member))
    assert 29 * 86400 < kept.ttl(redis_key(member)) <= 30 * 86400
    assert not [key for key in kept.scan_iter("ams:session:*") if member.session in key]


def test_signing_out_ends_the_session_here_and_at_identity(browsers: Any, kept: Redis) -> None:
    browser = browsers.register()
    before, tokens = browser.session, stored(kept, browser)["tokens"]
    answer = browser.post("/logout", "/marketplace")
    assert (answer.status, answer.location) == (303, "/login")
    assert "You are signed out" in browser.get("/login").text
    assert "You are signed out" not in browser.get("/login").text  # told once
    assert not is_signed_in(browser)
    assert not is_signed_in(Browser(browser.port, {"ams_session": before}))
    body = {"refreshToken": tokens["refresh_token"]}
    assert browsers.all_services.bff.ask("POST", "/api/v1/auth/refresh", body).status == 401


def age_token(kept: Redis, browser: Browser) -> str:
    """Makes the access token look as if it ran out in a moment; the refresh token that is there."""
    document = stored(kept, browser)
    document["tokens"]["expires_at_s"] = time.time() + 1
    kept.set(redis_key(browser), SEALER.seal(json.dumps(document).encode()), keepttl=True)
    return str(document["tokens"]["refresh_token"])


def test_tokens_are_renewed_once_however_many_pages_open_at_a_time(browsers: Any, kept: Redis) -> None:
    browser = browsers.register()
    before = age_token(kept, browser)
    cookies = dict(browser.cookies)

    def open_page(_: int) -> int:
        return Browser(browser.port, dict(cookies)).get("/marketplace").status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(open_page, range(16))) == {200}
    tokens = stored(kept, browser)["tokens"]
    assert tokens["refresh_token"] != before
    assert tokens["expires_at_s"] > time.time() + 300
    assert is_signed_in(browser)  # a refresh token used twice would have ended it


def test_a_session_that_identity_has_ended_leads_to_signing_in(browsers: Any, kept: Redis) -> None:
    browser = browsers.register()
    body = {"refreshToken": age_token(kept, browser)}
    assert browsers.all_services.bff.ask("POST", "/api/v1/auth/sign-out", body).status == 200
    answer = browser.get("/marketplace?q=x")
    assert (answer.status, answer.location) == (303, "/login?next=/marketplace%3Fq%3Dx")
    assert "Your session has ended" in browser.get("/login").text
    assert not kept.exists(redis_key(browser))


@pytest.mark.parametrize("cookie", ["", "x", "../../etc/passwd", "A" * 43, "A" * 44, "ams:session:*"])
def test_a_cookie_of_nobody_is_nobody(browsers: Any, cookie: str) -> None:
    assert not is_signed_in(Browser(browsers.all_services.bff.port, {"ams_session": cookie}))


def test_rest_takes_no_cookie(browsers: Any) -> None:
    browser = browsers.register()
    assert browser.send("GET", "/api/v1/me").status == 401
