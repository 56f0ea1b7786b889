"""Signing in and registering by forms."""

import re
import secrets
from typing import Any

import pytest
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"


def test_a_wrong_code_is_told_beside_the_field_and_the_right_one_still_works(browsers: Any) -> None:
    browser, email = browsers.browser(), f"{secrets.token_hex(6)}@a.example"
    browser.post("/register", "/register", email=email, name="Ann")
    code = browsers.all_services.mailbox.wait_for(email, r"^[0-9]{6}\r?$").strip()
    wrong = browser.post("/login/code", "/login/code", code="000000" if code != "000000" else "111111")
    assert wrong.status == 401
    assert 'aria-describedby="f-code-error"' in wrong.text
    assert "is not the one we sent" in wrong.text
    assert browser.post("/login/code", "/login/code", code=f" {code} ").status == 303


def test_another_code_takes_the_place_of_the_first(browsers: Any) -> None:
    browser, email = browsers.browser(), f"{secrets.token_hex(6)}@a.example"
    browser.post("/register", "/register", email=email, name="Ann")
    browsers.all_services.mailbox.wait_for(email, r"^[0-9]{6}\r?$")
    again = browser.post("/login/again", "/login/code")
    assert (again.status, again.location) == (303, "/login/code")
    assert browsers.type_code(browser, email).status == 303


@pytest.mark.parametrize("path", ["/login/code"])
def test_without_a_code_on_its_way_there_is_nothing_to_type(browsers: Any, path: str) -> None:
    assert browsers.browser().get(path).location == "/login"


def test_an_address_without_an_account_looks_the_same(browsers: Any) -> None:
    browser = browsers.browser()
    assert browser.post("/login", email="nobody@a.example").location == "/login/code"
    assert "nobody@a.example" in browser.get("/login/code").text


@pytest.mark.parametrize(
    ("path", "fields", "control"),
    [
        ("/login", {"email": "not an address"}, "f-email"),
        ("/register", {"email": "a@b.example", "name": ""}, "f-name"),
        ("/register/merchant", {"invite_code": "X", "email": "a@b.example", "name": "A"}, "f-company-name"),
    ],
)
def test_what_is_wrong_stands_beside_the_field_and_nothing_typed_is_lost(
    browsers: Any, path: str, fields: dict[str, str], control: str
) -> None:
    answer = browsers.browser().post(path, path, **fields)
    assert answer.status == 400
    assert f'id="{control}-error"' in answer.text
    assert f'href="#{control}"' in answer.text
    for text in fields.values():
        assert f'value="{text}"' in answer.text


def test_what_was_typed_is_shown_as_text(browsers: Any) -> None:
    answer = browsers.browser().post("/login", email='"><script>alert(1)</script>')
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_a_merchant_registers_with_the_link_of_the_invitation(browsers: Any) -> None:
    admin = browsers.all_services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL})
    token, email = browsers.all_services.sign_in(admin, ADMIN_EMAIL), f"{secrets.token_hex(6)}@a.example"
    assert browsers.all_services.bff.ask("POST", "/api/v1/invites", {"email": email}, token).status == 201
    code = browsers.all_services.mailbox.wait_for(email, r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$").strip()
    browser: Browser = browsers.browser()
    link = f"/register/merchant?invite_code={code}&email={email}"
    shown = browser.get(link)
    assert f'value="{code}"' in shown.text
    assert f'value="{email}"' in shown.text
    about = {"email": email, "name": "Max", "company_name": "Maps Ltd", "invite_code": code}
    assert browser.post("/register/merchant", link, **about).location == "/login/code"
    browsers.type_code(browser, email)
    assert '<span class="role-tag">Merchant</span>' in browser.get("/marketplace").text
    refused = browsers.browser().post("/register/merchant", link, **about)
    assert refused.status == 409
    assert "This invite is not valid" in refused.text


def test_an_admin_can_be_a_consumer_too_and_switch(browsers: Any) -> None:
    email = "two-roles@ams.example"
    admin = browsers.sign_in(email)
    assert admin.post("/register", "/register", email=email, name="Root").status == 303
    assert browsers.type_code(admin, email).status == 303
    assert '<span class="role-tag">Consumer</span>' in admin.get("/marketplace").text
    assert admin.post("/role", "/marketplace", role="1").status == 303
    assert '<span class="role-tag">Admin</span>' in admin.get("/marketplace").text
    assert admin.post("/role", "/marketplace", role="2").status == 403
    assert admin.post("/role", "/marketplace", role="99").status == 400


def test_too_many_codes_are_a_429_that_says_so(browsers: Any) -> None:
    email = f"{secrets.token_hex(6)}@a.example"
    browser = browsers.browser()
    answers = [browser.post("/login", email=email) for _ in range(21)]
    assert [answer.status for answer in answers] == [303] * 20 + [429]
    assert "Too many codes" in answers[-1].text


def test_a_browser_that_signed_in_before_is_known_there_and_to_nobody_else(browsers: Any) -> None:
    browser = browsers.register()
    device = browser.cookies["ams_device"]
    assert "~" not in device
    email = re.search(r'name="email"[^>]* value="([^"]+)"', browser.get("/register").text)
    assert email
    browser.post("/logout", "/marketplace")
    assert browser.cookies["ams_device"] == device
    answers = [browser.post("/login", email=email[1]) for _ in range(25)]
    # Twenty of its network, as anybody's, and five of its own.
    assert [answer.status for answer in answers] == [303] * 25
    assert "mailed already" in browser.get("/login/code").text
    assert browsers.type_code(browser, email[1]).status == 303
    browsers.register(browser)
    assert len(browser.cookies["ams_device"].split("~")) == 3


def test_a_device_cookie_is_out_of_reach_of_scripts(browsers: Any) -> None:
    browser = browsers.browser()
    email = f"{secrets.token_hex(6)}@a.example"
    browser.post("/register", "/register", email=email, name="Zoë")
    cookies = browsers.type_code(browser, email).set_cookies
    [device] = [cookie for cookie in cookies if cookie.startswith("ams_device=")]
    assert "HttpOnly" in device and "SameSite=lax" in device
