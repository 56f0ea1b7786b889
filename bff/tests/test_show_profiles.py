"""Profiles: names and pictures by upload, a merchant's public page, and how pictures are served."""

import base64
import http.client
import re
import secrets
from contextlib import closing
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

ADMIN_EMAIL = "admin@ams.example"
_CODE = r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$"


def picture(size: tuple[int, int] = (60, 30)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, "navy").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def merchant(all_services: Any, browsers: Any) -> Any:
    """A merchant's browser, and its company's name."""
    bff, tag = all_services.bff, secrets.token_hex(4)
    admin = all_services.sign_in(bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL}), ADMIN_EMAIL)
    email = f"{tag}@merchants.example"
    assert bff.ask("POST", "/api/v1/invites", {"email": email}, admin).status == 201
    code = all_services.mailbox.wait_for(email, _CODE).strip()
    about = {"email": email, "name": "M", "companyName": f"Maps {tag}", "inviteCode": code}
    all_services.sign_in(bff.ask("POST", "/api/v1/auth/register/merchant", about), email)
    return browsers.sign_in(email), f"Maps {tag}"


def fetch(all_services: Any, path: str) -> tuple[int, Any, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", all_services.bff.port, timeout=30)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def test_a_new_name_stands_on_every_page_at_once(browsers: Any) -> None:
    browser = browsers.register()
    answer = browser.post("/settings/profile", "/settings/profile", name="Zoë <Q>")
    assert (answer.status, answer.location) == (303, "/settings/profile")
    page = browser.get("/settings/profile").text
    assert "Account of Zoë &lt;Q&gt;" in page
    refused = browser.post("/settings/profile", "/settings/profile", name=" ")
    assert (refused.status, "is required" in refused.text) == (400, True)


def test_an_uploaded_picture_is_shown_and_can_be_deleted(all_services: Any, browsers: Any) -> None:
    browser = browsers.register()
    page = "/settings/profile"
    assert browser.upload(f"{page}/picture", page, picture()).location == page
    [path, *_] = re.findall(r'class="avatar" src="(/pictures/[0-9a-f-]{36})"', browser.get(page).text)
    status, headers, content = fetch(all_services, path)
    assert status == 200
    assert Image.open(BytesIO(content)).size == (256, 256)
    assert headers["content-type"] == "image/webp"
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert "immutable" in headers["cache-control"]
    # A cache may keep it for everybody: it carries nobody's cookie.
    assert headers["set-cookie"] is None
    assert browser.post(f"{page}/picture/delete", page).location == page
    assert "/pictures/" not in browser.get(page).text
    assert fetch(all_services, path)[0] == 404


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", picture((4100, 4100))])
def test_what_is_no_picture_is_refused_beside_the_field(browsers: Any, content: bytes) -> None:
    browser = browsers.register()
    refused = browser.upload("/settings/profile/picture", "/settings/profile", content)
    assert refused.status == 400
    assert 'id="f-content-error"' in refused.text


def test_a_file_without_the_pages_token_is_refused(browsers: Any) -> None:
    browser = browsers.register()
    refused = browser.upload("/settings/profile/picture", "/settings/profile", picture(), csrf="x")
    assert refused.status == 403


def test_uploads_are_bounded_and_elsewhere_bodies_stay_small(browsers: Any) -> None:
    browser = browsers.register()
    page = "/settings/profile"
    assert browser.upload(f"{page}/picture", page, bytes(3_000_000)).status == 413
    assert browser.upload(page, page, bytes(300_000), name="Z").status == 413


def test_what_isnt_a_picture_of_ours_is_not_found(all_services: Any) -> None:
    assert fetch(all_services, "/pictures/01900000-0000-7000-8000-000000000000")[0] == 404
    assert fetch(all_services, "/pictures/../etc/passwd")[0] in (400, 404)


def test_scripts_send_pictures_in_base64(all_services: Any, merchant: Any) -> None:
    bff, email = all_services.bff, f"{secrets.token_hex(4)}@people.example"
    challenge = bff.ask("POST", "/api/v1/auth/register/consumer", {"email": email, "name": "C"})
    token = all_services.sign_in(challenge, email)
    body = {"content": base64.b64encode(picture((1500, 900))).decode()}
    made = bff.ask("POST", "/api/v1/me/picture", body, token)
    assert made.status == 200
    assert fetch(all_services, made.json["avatarUrl"])[0] == 200
    assert bff.ask("PATCH", "/api/v1/me", {"name": "Cleo"}, token).json["name"] == "Cleo"
    assert bff.ask("DELETE", "/api/v1/me/picture", None, token).json["avatarUrl"] == ""
    refused = bff.ask("POST", "/api/v1/me/picture", {"content": "bm8="}, token)
    assert (refused.status, refused.code) == (400, "picture_invalid")


def test_a_merchants_page_shows_what_it_tells_and_offers(
    all_services: Any, browsers: Any, merchant: Any
) -> None:
    browser, company = merchant
    page = "/merchant/profile"
    fields = {
        "about": "We know <where>.\n\nSince 1999.",
        "links.1.label": "Docs",
        "links.1.url": "https://maps.example/docs",
    }
    assert browser.post(page, page, **fields).location == page
    assert browser.upload(f"{page}/logo", page, picture()).location == page
    slug = company.lower().replace(" ", "-")
    shown = browsers.browser().get(f"/marketplace/merchants/{slug}")
    assert shown.status == 200
    for text in (company, "We know &lt;where&gt;.", "https://maps.example/docs", 'class="logo"', "noopener"):
        assert text in shown.text, text
    profile = all_services.bff.ask("GET", f"/api/v1/marketplace/merchants/{slug}").json
    assert (profile["companyName"], profile["links"][0]["label"]) == (company, "Docs")
    by_id = browsers.browser().get(f"/marketplace/merchants/{profile['merchantId']}")
    assert by_id.location == f"/marketplace/merchants/{slug}"
    assert browser.post(f"{page}/logo/delete", page).location == page
    assert 'class="logo"' not in browsers.browser().get(f"/marketplace/merchants/{slug}").text


def test_a_link_that_leads_nowhere_is_refused_beside_it(merchant: Any) -> None:
    browser, _ = merchant
    fields = {"links.2.label": "Bad", "links.2.url": "javascript:alert(1)"}
    refused = browser.post("/merchant/profile", "/merchant/profile", about="", **fields)
    assert refused.status == 400
    assert 'id="f-links-0-url-error"' in refused.text
    assert 'value="javascript:alert(1)"' in refused.text


def test_a_merchant_that_there_isnt_is_a_designed_404(browsers: Any) -> None:
    page = browsers.browser().get("/marketplace/merchants/nobody-at-all")
    assert page.status == 404
    assert "<h1>" in page.text
