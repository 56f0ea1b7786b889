"""Lists that are searched, sorted and downloaded, and the search over everything."""

import csv
import io
import re
import secrets
from html import unescape
from typing import Any

import pytest
from support.plain_browser import HTML, Browser

ADMIN_EMAIL = "admin@ams.example"


@pytest.fixture(scope="module")
def people(browsers: Any) -> Any:
    """A word, and two consumers' addresses that begin with it."""
    word = f"w{secrets.token_hex(5)}"
    emails = [f"{word}-{name}@people.example" for name in ("anna", "zoe")]
    for email in emails:
        browser = browsers.browser()
        assert browser.post("/register", "/register", email=email, name="Ann").status == 303
        assert browsers.type_code(browser, email).status == 303
    return word, emails


@pytest.fixture(scope="module")
def admin(browsers: Any) -> Any:
    return browsers.sign_in(ADMIN_EMAIL)


def order_of(text: str, emails: list[str]) -> list[str]:
    return sorted((email for email in emails if email in text), key=text.index)


def test_a_list_is_searched_and_sorted_by_its_url(admin: Browser, people: Any) -> None:
    word, emails = people
    for sort, wanted in (("email", emails), ("-email", emails[::-1])):
        text = admin.get(f"/admin/consumers?q={word}&sort={sort}").text
        assert order_of(text, emails) == wanted
        assert f'aria-sort="{"descending" if sort.startswith("-") else "ascending"}"' in text
    assert emails[1] not in admin.get(f"/admin/consumers?q={word}+anna").text


def test_the_words_stay_with_filters_and_sort(admin: Browser, people: Any) -> None:
    word, _ = people
    text = unescape(admin.get(f"/admin/consumers?q={word}&sort=name&standing=active").text)
    assert f'href="/admin/consumers?q={word}&sort=name&standing=blocked"' in text
    assert f'href="/admin/consumers?q={word}&sort=email&standing=active"' in text
    assert f'href="/admin/consumers/table.csv?q={word}&sort=name&standing=active"' in text
    assert '<input type="hidden" name="standing" value="active">' in text


def test_nothing_that_matches_offers_to_clear(admin: Browser) -> None:
    for path in ("consumers", "merchants", "services"):
        text = admin.get(f"/admin/{path}?q=zzzz{secrets.token_hex(6)}").text
        assert "Nothing matches" in text
        assert f'href="/admin/{path}"><span>Clear search and filters' in text


def test_a_file_has_what_the_list_shows(admin: Browser, people: Any) -> None:
    word, emails = people
    file = admin.get(f"/admin/consumers/table.csv?q={word}&sort=-email")
    assert file.headers.get_content_type() == "text/csv"
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [row["email"] for row in rows] == emails[::-1]
    assert {row["standing"] for row in rows} == {"Active"}
    assert (
        list(
            csv.DictReader(
                io.StringIO(admin.get(f"/admin/consumers/table.csv?q={word}&standing=blocked").text)
            )
        )
        == []
    )


@pytest.mark.parametrize(
    "path",
    [
        "/admin/consumers",
        "/admin/merchants",
        "/admin/merchants/invites",
        "/admin/services",
        "/admin/governance",
        "/marketplace",
    ],
)
def test_every_list_has_its_file(admin: Browser, path: str) -> None:
    assert admin.get(f"{path}/table.csv").status == 200


@pytest.mark.parametrize(
    "path", ["/dashboard/api-keys", "/dashboard/services", "/dashboard/images", "/dashboard/invoices"]
)
def test_a_consumers_lists_have_their_files(browsers: Any, path: str) -> None:
    assert browsers.register().get(f"{path}/table.csv").status == 200


@pytest.mark.parametrize(
    "path", ["/admin/consumers", "/admin/merchants", "/admin/services", "/merchant/services"]
)
def test_files_are_for_the_role_of_their_list(browsers: Any, path: str) -> None:
    assert browsers.register().get(f"{path}/table.csv").status == 403
    assert browsers.browser().get(f"{path}/table.csv").status == 303


def test_an_admin_finds_people_and_pages(admin: Browser, people: Any) -> None:
    word, emails = people
    text = admin.get(f"/search?q={word}").text
    assert all(re.search(rf'href="/admin/consumers/[^"]+">{email}<', text) for email in emails)
    assert 'href="/admin/governance">Governance<' in admin.get("/search?q=gov").text


def test_who_is_no_admin_finds_nobody(browsers: Any, people: Any) -> None:
    word, emails = people
    for browser in (browsers.register(), browsers.browser()):
        for path in (f"/search?q={word}", f"/search/palette?q={word}&as=admin"):
            assert emails[0] not in browser.get(path).text


def test_the_palette_lists_the_same_as_options(admin: Browser, people: Any) -> None:
    word, emails = people
    part = admin.get(f"/search/palette?q={word}", **{"HX-Request": "true"}).text
    assert "<html" not in part
    assert part.count('role="option"') == len(emails)
    assert "Nothing matches" in admin.get("/search/palette?q=zzzzzzzz").text


def test_a_source_that_is_away_is_told_and_spoils_nothing_else(bff: Any) -> None:
    page = bff.ask("GET", "/search?q=market", headers={"Accept": HTML})
    assert page.status == 200
    assert 'href="/marketplace">Marketplace<' in page.text
    assert "Not everything could be searched" in page.text


@pytest.mark.parametrize(
    "query", ["q=%00%0a", "q=" + "x" * 900, "q=%ff", "q=%3Cb%3E", "as=evil&q=a", "sort=%00"]
)
def test_strange_words_are_no_fault(browsers: Any, query: str) -> None:
    page = browsers.browser().get(f"/search?{query}")
    assert page.status == 200
    assert "<b>" not in page.text


def test_what_a_page_offers_to_do_is_found_as_pages_are(browsers: Any, admin: Browser) -> None:
    consumer = browsers.register()
    assert 'href="/dashboard/api-keys/new">New key<' in consumer.get("/search?q=new+key").text
    assert 'href="/admin/merchants#invite">Invite a merchant<' in admin.get("/search?q=invite").text
    assert "New key" not in browsers.browser().get("/search?q=new").text


def test_pages_without_the_palette_dont_load_its_script(browsers: Any) -> None:
    browser = browsers.browser()
    for path, is_there in (("/login", False), ("/register", False), ("/marketplace", True)):
        text = browser.get(path).text
        assert ('id="palette"' in text, "/palette." in text) == (is_there, is_there), path


@pytest.mark.parametrize("status", ["active", "expired", "revoked", "evil"])
def test_keys_are_filtered_by_what_they_are_now(browsers: Any, status: str) -> None:
    page = browsers.register().get(f"/dashboard/api-keys?status={status}")
    assert page.status == 200
    assert "No key of yours has all of these words, this status and this project." in page.text
