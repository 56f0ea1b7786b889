"""The bell, the list of what somebody was told, choices, and the links of mails."""

import http.client
import re
import secrets
from contextlib import closing
from typing import Any

import pytest
from ams_bff.http.unread_counts import UnreadCounts

ADMIN_EMAIL = "admin@ams.example"
PATH, CHOICES = "/notifications", "/settings/notifications"


@pytest.fixture(scope="module")
def admin(browsers: Any) -> Any:
    return browsers.sign_in(ADMIN_EMAIL)


@pytest.fixture
def told(all_services: Any, browsers: Any, admin: Any) -> Any:
    """The browser of somebody who was blocked, and then not any more: two notifications."""
    browser, email = browsers.browser(), f"{secrets.token_hex(6)}@people.example"
    assert browser.post("/register", "/register", email=email, name="Nora").status == 303
    assert browsers.type_code(browser, email).status == 303
    listed = admin.get(f"/admin/consumers?q={email}").text
    found = re.search(r"/admin/consumers/([0-9a-f-]{36})", listed)
    assert found
    page = f"/admin/consumers/{found[1]}"
    assert admin.post(f"{page}/block", page, reason="<i>Tests</i>").status == 303
    assert admin.post(f"{page}/unblock", page).status == 303
    assert all_services.wait_until(lambda: browser.get(PATH).text.count("Mark as read<") == 2)
    return browser


def test_what_was_told_is_listed_escaped_and_marked_as_read(told: Any) -> None:
    page = told.get(PATH).text
    assert "Your account as a consumer is active again" in page
    assert "Your account as a consumer is blocked" in page
    assert told.get(f"{PATH}/unread").text == "2"
    assert re.search(r"data-count>2<", told.get("/settings/profile").text)
    found = re.search(r'name="notification_id" value="([0-9a-f-]{36})"', page)
    assert found
    back = f"{PATH}?show=unread"
    answer = told.post(f"{PATH}/read", PATH, notification_id=found[1], back=back)
    assert (answer.status, answer.location) == (303, back)
    assert told.get(back).text.count("Mark as read<") == 1
    assert told.get(f"{PATH}/unread").text == "1"
    now = told.get(PATH).hidden("until")
    assert told.post(f"{PATH}/read-all", PATH, until=now, back="//evil.example").location == PATH
    assert told.get(f"{PATH}/unread").text == "0"
    assert "Nothing matches" in told.get(back).text
    assert told.post(f"{PATH}/read-all", PATH, until="yesterday").status == 400


def test_the_list_is_narrowed_to_a_kind(told: Any) -> None:
    assert "is blocked" in told.get(f"{PATH}?category=1").text
    assert "Nothing matches" in told.get(f"{PATH}?category=6").text
    assert told.get(f"{PATH}?category=junk").status == 200


def test_nobody_has_no_list(browsers: Any) -> None:
    nobody = browsers.browser()
    for path in (PATH, CHOICES):
        assert nobody.get(path).location == f"/login?next={path}"
    assert nobody.get(f"{PATH}/unread", Accept="text/plain").status == 401


def test_choices_are_kept_and_what_is_required_cannot_be_turned_off(browsers: Any) -> None:
    browser = browsers.register()
    page = browser.get(CHOICES).text
    assert page.count('type="checkbox"') == page.count(" checked") == 12
    assert page.count("Always") == 4
    assert browser.post(CHOICES, CHOICES, shown="6", mail="6").location == CHOICES
    after = browser.get(CHOICES).text
    assert after.count(" checked") == 11
    assert re.search(r'name="mail" value="6" checked', after)
    assert re.search(r'name="app" value="6">', after)
    # Nobody's page sends it.
    refused = browser.post(CHOICES, CHOICES, shown="1")
    assert (refused.status, "be turned off" in refused.text) == (400, True)


def test_a_bad_link_of_a_mail_is_a_page_and_needs_no_session(browsers: Any) -> None:
    nobody = browsers.browser()
    assert nobody.get("/unsubscribe/none").status == 404


def post_by_mail_program(bff: Any, path: str) -> int:
    """What RFC 8058 has a mail program send: no cookie, no page before, no origin."""
    with closing(http.client.HTTPConnection("127.0.0.1", bff.port, timeout=30)) as connection:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, b"List-Unsubscribe=One-Click", headers)
        return connection.getresponse().status


def test_a_mails_link_works_without_a_session_and_by_one_click(
    all_services: Any, browsers: Any, admin: Any
) -> None:
    # Admins are told of what waits: a merchant's first service.
    bff, tag = all_services.bff, secrets.token_hex(4)
    email = f"{tag}@merchants.example"
    challenge = bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL})
    invited = bff.ask(
        "POST", "/api/v1/invites", {"email": email}, all_services.sign_in(challenge, ADMIN_EMAIL)
    )
    assert invited.status == 201, invited.text
    code = all_services.mailbox.wait_for(email, r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$").strip()
    about = {"email": email, "name": "M", "companyName": f"Maps {tag}", "inviteCode": code}
    token = all_services.sign_in(bff.ask("POST", "/api/v1/auth/register/merchant", about), email)
    service = {
        "name": f"Tiles {tag}",
        "description": "Tiles",
        "type": "API",
        "version": "1.0",
        "baseUrl": "https://api.example.com",
        "documentationUrl": "https://docs.example.com",
        "price": {
            "currencyCode": "EUR",
            "components": [{"meter": "REQUESTS", "perUnit": {"amount": {"nanos": 3_500_000}}}],
        },
    }

    def created() -> Any:
        answer = bff.ask("POST", "/api/v1/services", service, token)
        return answer.json if answer.status == 201 else None

    service_id = all_services.wait_until(created)["serviceId"]
    submitted = bff.ask("POST", f"/api/v1/services/{service_id}:submit", {}, token)
    assert submitted.status == 200, submitted.text
    header = all_services.mailbox.wait_for(ADMIN_EMAIL, r"^List-Unsubscribe: <[^>]*>\r?$")
    path = "/unsubscribe/" + header.strip().rstrip(">").rpartition("/")[2]
    nobody = browsers.browser()
    page = nobody.get(path)
    assert (page.status, "Send me no such mails" in page.text) == (200, True)
    # A look at it turns nothing off: programs look at links.
    assert re.search(r'name="mail" value="4" checked', admin.get(CHOICES).text)
    assert [post_by_mail_program(bff, path) for _ in range(2)] == [200, 200]
    assert not re.search(r'name="mail" value="4" checked', admin.get(CHOICES).text)
    assert admin.get(CHOICES).text.count(" checked") == 11
    assert post_by_mail_program(bff, path[:-6] + "AAAAAA") == 404


async def test_of_all_pages_of_a_person_one_asks_and_not_again_for_a_while() -> None:
    now_s, asked = 0.0, 0
    counts = UnreadCounts(lambda: now_s)

    async def ask() -> int:
        nonlocal asked
        asked += 1
        return asked

    async def fail() -> int:
        raise TimeoutError

    assert [await counts.fresh("a", ask) for _ in range(3)] == [1, 1, 1]
    assert await counts.fresh("b", ask) == 2
    now_s = 16.0
    assert await counts.fresh("a", ask) == 3
    counts.learn("a", 0)
    assert (await counts.fresh("a", ask), counts.known("a"), counts.known("nobody")) == (0, 0, 0)
    now_s = 40.0
    with pytest.raises(TimeoutError):
        await counts.fresh("a", fail)
    assert await counts.fresh("a", ask) == 4


async def test_the_counts_of_many_people_do_not_grow_without_end() -> None:
    counts = UnreadCounts()
    for number in range(10_050):
        counts.learn(str(number), 1)
    assert (counts.known("0"), counts.known("10049")) == (0, 1)
