"""Usage of one service, merchant or consumer: chosen from what the reader may see, called by name."""

import re
import secrets
from dataclasses import dataclass
from typing import Any

import pytest
from ams_bff.views.price_forms import CURRENCY
from ams_common.ids import uuid7
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"


@dataclass(frozen=True, slots=True)
class Shop:
    """A merchant with a service."""

    browser: Browser
    merchant_id: str
    service_id: str


@pytest.fixture(scope="module")
def admin(browsers: Any) -> Any:
    return browsers.sign_in(ADMIN_EMAIL)


@pytest.fixture(scope="module")
def shop(browsers: Any, admin: Browser) -> Shop:
    email, post = f"{secrets.token_hex(6)}@people.example", browsers.all_services.mailbox
    about = {"email": email, "name": "Max", "company_name": "Münz AG"}
    assert admin.post("/admin/merchants", "/admin/merchants", email=email).status == 303
    code = post.wait_for(email, r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$").strip()
    browser = browsers.browser()
    path = "/register/merchant"
    assert browser.post(path, path, invite_code=code, **about).status == 303
    assert browsers.type_code(browser, email).status == 303
    made = browser.post(
        "/merchant/services",
        "/merchant/services/new",
        name="Coins",
        type="API",
        description="d",
        version="1",
        rate_limit_per_minute="0",
        documentation_url="https://coins.example",
        base_url="",
        **{CURRENCY: "EUR"},
    )
    assert made.status == 303, made.text
    found = browsers.all_services.wait_until(
        lambda: re.search(rf'/admin/merchants/([^"]+)">{"Münz AG"}', admin.get("/admin/merchants").text)
    )
    return Shop(browser, found[1], made.location.rpartition("/")[2])


def test_a_reader_chooses_from_its_own_services(browsers: Any, shop: Shop, admin: Browser) -> None:
    option = f'<option value="{shop.service_id}">Coins</option>'
    assert option in shop.browser.get("/merchant/usage").text
    assert option in admin.get("/admin/usage").text
    assert "Coins" not in browsers.register().get("/dashboard/usage").text


def test_the_choice_stays_with_the_rest_of_the_url(shop: Shop) -> None:
    text = shop.browser.get(f"/merchant/usage?range=7d&group=status&service={shop.service_id}").text
    assert f'<option value="{shop.service_id}" selected>Coins</option>' in text
    assert '<input type="hidden" name="group" value="status">' in text
    assert f"range=30d&amp;group=status&amp;service={shop.service_id}" in text


def test_a_merchants_and_a_consumers_usage_are_called_by_their_names(admin: Browser, shop: Shop) -> None:
    page = admin.get(f"/admin/merchants/{shop.merchant_id}").text
    path = f"/admin/usage?range=30d&amp;merchant={shop.merchant_id}"
    assert f'href="{path}"' in page
    assert "<span>Merchant: Münz AG</span>" in admin.get(path.replace("&amp;", "&")).text


@pytest.mark.parametrize("name", ["merchant", "consumer"])
def test_usage_of_nobody_is_no_fault(admin: Browser, name: str) -> None:
    nobody = str(uuid7())
    page = admin.get(f"/admin/usage?{name}={nobody}")
    assert page.status == 200
    assert f"…{nobody[-6:]}</span>" in page.text
    assert admin.get(f"/admin/usage?{name}=evil").status == 404


def test_who_is_no_admin_learns_no_name(shop: Shop, browsers: Any) -> None:
    for browser, path in ((shop.browser, "/merchant/usage"), (browsers.register(), "/dashboard/usage")):
        assert "Merchant: Münz AG" not in browser.get(f"{path}?merchant={shop.merchant_id}").text


def test_a_merchant_finds_its_own_services_what_it_can_do_and_the_marketplace(shop: Shop) -> None:
    assert f'href="/merchant/services/{shop.service_id}">Coins<' in shop.browser.get("/search?q=coins").text
    assert 'href="/merchant/services/new">New service<' in shop.browser.get("/search?q=new").text
    assert "Invite a merchant" not in shop.browser.get("/search?q=invite").text


def test_a_merchant_watches_its_services(shop: Shop) -> None:
    path = "/merchant/alerts"
    rule = {"name": "Busy", "metric": "REQUEST_COUNT", "period": "ALERT_DAY", "thresholds": "1 100000"}
    made = shop.browser.post(path, f"{path}/new", **rule, service_id=shop.service_id, sends_mail="true")
    assert (made.status, made.location) == (303, path), made.text
    page = shop.browser.get(path)
    assert (page.status, "Coins" in page.text) == (200, True)
    refused = shop.browser.post(path, f"{path}/new", **rule, consumer="cst_nobody")
    assert refused.status == 400
    assert "Consumer" in "".join(re.findall(r"field-error[^\n]*", refused.text))


def test_a_service_has_consumers_of_its_own_and_no_other_has(shop: Shop) -> None:
    page = shop.browser.get(f"/merchant/services/{shop.service_id}/consumers")
    assert (page.status, "Consumers of Coins" in page.text) == (200, True)
    assert shop.browser.get(f"/merchant/services/{uuid7()}/consumers").status == 404
    assert shop.browser.get("/merchant/consumers/cst_nobody").status == 404
    found = shop.browser.get("/merchant/consumers/find?pseudonym=cst_a%2F..%2F..")
    assert (found.status, found.location) == (303, "/merchant/consumers/cst_a")
    columns = shop.browser.get("/merchant/consumers/table.csv").text
    assert columns.startswith("consumer,requests,billable_requests,errors,request_bytes,response_bytes,")
    assert ",request_messages,response_messages,mean" in columns
