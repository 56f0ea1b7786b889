"""Personal access tokens: made on the page, used by REST, revoked."""

import json
import re
import time
from html import unescape
from typing import Any

import pytest
from support.plain_browser import Browser, Page

NEW, LIST = "/settings/tokens/new", "/settings/tokens"
ADMIN_EMAIL = "admin@ams.example"
WITHIN_S = 2.0


def make(browser: Browser, scope: str, **fields: str) -> Page:
    page = browser.get(NEW)
    role = re.search(r'<option value="(\d)" selected>', page.text)
    assert role, page.text
    given = {"name": "Nightly report", "role": role[1], "scope": scope, "ttl_days": "30"}
    given["idempotency_key"] = page.hidden("idempotency_key")
    return browser.post(NEW, NEW, **given | fields)


def secret_of(page: Page) -> str:
    found = re.search(r"ams_pat_[0-9A-Za-z]{46}", unescape(page.text))
    assert found, page.text
    return found[0]


@pytest.fixture
def browser(browsers: Any) -> Browser:
    person: Browser = browsers.register()
    return person


def test_a_token_is_shown_once_and_calls_as_its_person(all_services: Any, browser: Browser) -> None:
    secret = secret_of(make(browser, "write"))
    assert secret not in browser.get(LIST).text
    assert secret[:16] in browser.get(LIST).text
    me = all_services.bff.ask("GET", "/api/v1/me", token=secret)
    assert (me.status, me.json["roles"]) == (200, ["CONSUMER"])
    made = all_services.bff.ask("POST", "/api/v1/access-requests", {"serviceId": "x"}, secret)
    assert made.code == "invalid_argument"  # let in, and told what is wrong


def test_a_token_that_reads_changes_nothing(all_services: Any, browser: Browser) -> None:
    secret = secret_of(make(browser, "read"))
    assert all_services.bff.ask("GET", "/api/v1/keys", token=secret).status == 200
    refused = all_services.bff.ask("POST", "/api/v1/keys", {"name": "k"}, secret)
    assert (refused.status, refused.code) == (403, "token_scope")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/tokens", {"name": "t", "role": "CONSUMER", "scope": "TOKEN_WRITE", "ttlDays": 1}),
        ("/api/v1/sessions:endOthers", {}),
    ],
)
def test_a_token_changes_nothing_about_signing_in(
    all_services: Any, browser: Browser, path: str, body: Any
) -> None:
    refused = all_services.bff.ask("POST", path, body, secret_of(make(browser, "write")))
    assert (refused.status, refused.code) == (403, "session_required")


def test_a_revoked_token_is_refused_by_every_service_at_once(all_services: Any, browser: Browser) -> None:
    secret = secret_of(make(browser, "write"))
    paths = ("/api/v1/me", "/api/v1/keys", "/api/v1/consumer/spend", "/api/v1/alert-rules")
    assert [all_services.bff.ask("GET", path, token=secret).status for path in paths] == [200] * 4
    path = re.search(r'action="(/settings/tokens/[0-9a-f-]+/revoke)"', browser.get(LIST).text)
    assert path
    assert browser.post(path[1], LIST).status == 303
    deadline_s = time.monotonic() + WITHIN_S
    while [all_services.bff.ask("GET", path, token=secret).status for path in paths] != [401] * 4:
        assert time.monotonic() < deadline_s
    answer = all_services.bff.ask("GET", "/api/v1/me", token=secret)
    assert (answer.status, answer.code) == (401, "token_invalid")
    assert "Revoked" in browser.get(LIST).text


def test_a_token_goes_on_where_its_persons_standing_lets_it(all_services: Any, browser: Browser) -> None:
    """What the BFF keeps of it is traded anew, and says what is so now."""
    secret = secret_of(make(browser, "write"))
    user_id = all_services.bff.ask("GET", "/api/v1/me", token=secret).json["userId"]
    signing_in = all_services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL})
    admin = all_services.sign_in(signing_in, ADMIN_EMAIL)
    for verb, status in (("block", 403), ("unblock", 200)):
        all_services.bff.ask("POST", f"/api/v1/consumers/{user_id}:{verb}", {}, admin)
        deadline_s = time.monotonic() + WITHIN_S
        while (answer := all_services.bff.ask("GET", "/api/v1/keys", token=secret)).status != status:
            assert time.monotonic() < deadline_s, answer.text


@pytest.mark.parametrize("secret", ["ams_pat_", "ams_pat_" + "0" * 46, "ams_pat_é"])
def test_what_is_no_token_is_refused(all_services: Any, secret: str) -> None:
    raw = f"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"
    answer = all_services.bff.send(raw.encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 401")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "token_invalid"


def test_a_form_that_lacks_something_says_so(browser: Browser) -> None:
    page = make(browser, "everything", name="", ttl_days="0")
    assert page.status == 400
    for text in ("Name is required", "Expires after must be", "is required: choose what the token may do"):
        assert text in page.text


def test_a_form_sent_twice_makes_one_token(browser: Browser) -> None:
    page = browser.get(NEW)
    role = re.search(r'<option value="(\d)" selected>', page.text)
    assert role
    key = page.hidden("idempotency_key")
    given = {"name": "Twice", "role": role[1], "scope": "read", "ttl_days": "30", "idempotency_key": key}
    assert browser.post(NEW, NEW, **given).status == 200
    again = browser.post(NEW, NEW, **given)
    assert (again.status, again.location) == (303, LIST)
    page = browser.get(LIST)
    assert "The form was sent twice" in page.text
    assert len(re.findall(r"ams_pat_\w{8}…", page.text)) == 1
