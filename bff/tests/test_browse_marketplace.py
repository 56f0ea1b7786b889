"""The marketplace: open to everybody, searched by its URL; access asked for on a service's page."""

import secrets
from typing import Any

import pytest

ADMIN_EMAIL = "admin@ams.example"


@pytest.fixture(scope="module")
def service(all_services: Any) -> Any:
    """An active service with a name of its own."""
    bff, tag = all_services.bff, secrets.token_hex(4)
    admin = all_services.sign_in(bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL}), ADMIN_EMAIL)
    email = f"{tag}@merchants.example"
    assert bff.ask("POST", "/api/v1/invites", {"email": email}, admin).status == 201
    code = all_services.mailbox.wait_for(email, r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$").strip()
    about = {"email": email, "name": "M", "companyName": f"Maps & {tag}", "inviteCode": code}
    merchant = all_services.sign_in(bff.ask("POST", "/api/v1/auth/register/merchant", about), email)
    body = {
        "name": f"Geo {tag}",
        "description": "<b>Where</b> is it?",
        "type": "API",
        "baseUrl": "https://api.maps.example",
        "documentationUrl": "https://docs.maps.example",
        "version": "1.2.3",
        "tags": [f"t{tag}"],
        "price": {
            "currencyCode": "EUR",
            "components": [
                {"meter": "REQUESTS", "perUnit": {"amount": {"nanos": 3_500_000}}},
                {"monthlyFee": {"amount": {"units": "5"}}},
                {
                    "meter": "MEGABYTES",
                    "graduated": {
                        "tiers": [
                            {"upTo": "1000"},
                            {"unitAmount": {"nanos": 20_000_000}, "flatAmount": {"units": "3"}},
                        ]
                    },
                },
            ],
            "chargeRule": {"isClientErrorFree": True},
        },
        "rateLimitPerMinute": 1200,
        "additionalInfo": "SLA 99.9 %",
    }

    def created() -> Any:
        answer = bff.ask("POST", "/api/v1/services", body, merchant)
        return answer.json if answer.status == 200 else None

    made = all_services.wait_until(created)
    for verb, token in (("submit", merchant), ("approve", admin)):
        assert bff.ask("POST", f"/api/v1/services/{made['serviceId']}:{verb}", {}, token).status == 200
    path = f"/api/v1/marketplace/services/{made['slug']}"
    all_services.wait_until(lambda: bff.ask("GET", path).status == 200)
    return made | {"tag": f"t{tag}", "admin": admin}


def test_everybody_finds_a_service_by_words_type_and_tag(browsers: Any, service: Any) -> None:
    browser, link = browsers.browser(), f'href="/marketplace/{service["slug"]}"'
    for query in ("", f"q={service['name'].split()[1]}", "type=api", f"tag={service['tag']}"):
        assert link in browser.get(f"/marketplace?{query}").text, query
    for query in ("type=docker", "tag=other", "q=zzzzzz"):
        assert link not in browser.get(f"/marketplace?{query}").text, query
    assert "Nothing matches" in browser.get("/marketplace?q=zzzzzz").text


def test_a_script_gets_only_the_results(browsers: Any, service: Any) -> None:
    part = browsers.browser().get(f"/marketplace?tag={service['tag']}", **{"HX-Request": "true"}).text
    assert service["slug"] in part
    assert "<html" not in part


@pytest.mark.parametrize("query", ["page=nonsense", "q=" + "x" * 500, "type=nonsense", "tag=%00", "q=%ff"])
def test_a_strange_query_is_no_fault(browsers: Any, query: str) -> None:
    assert browsers.browser().get(f"/marketplace?{query}").status in (200, 404)


def test_a_services_page_tells_all_of_it_as_text(browsers: Any, service: Any) -> None:
    text = browsers.browser().get(f"/marketplace/{service['slug']}").text
    for told in ("EUR 0.0035 per request", "1.2.3", "https://docs.maps.example", "SLA 99.9 %"):
        assert told in text
    for told in ("EUR 5.00 for each month with use", "1 to 1,000", "above 1,000", "€0.02", "€3.00"):
        assert told in text
    assert "Not charged: answers with 4xx." in text
    # Where the merchant's API lies is no business of consumers.
    assert "api.maps.example" not in text
    assert "1,200 requests a minute" in text
    assert "&lt;b&gt;Where&lt;/b&gt;" in text
    assert service["merchantName"].replace("&", "&amp;") in text
    assert "Sign in to request access" in text
    assert browsers.browser().get(f"/marketplace/{service['serviceId']}").status == 200


def test_a_consumer_asks_for_access_and_follows_the_answer(browsers: Any, service: Any) -> None:
    browser, path = browsers.register(), f"/marketplace/{service['slug']}"
    asked = browser.post(f"{path}/access", path, note="For my shop", idempotency_key="k" * 20)
    assert (asked.status, asked.location) == (303, path)
    shown = browser.get(path).text
    assert "Pending" in shown
    assert "Access requested" in shown
    again = browser.post(f"{path}/access", path, note="again")
    assert again.status == 409
    bff = browsers.all_services.bff
    pending = "/api/v1/access-requests?status=PENDING&pageSize=200"
    listed = bff.ask("GET", pending, token=service["admin"]).json["accessRequests"]
    [request] = [r for r in listed if r["serviceId"] == service["serviceId"]]
    decision = f"/api/v1/access-requests/{request['accessRequestId']}:deny"
    assert bff.ask("POST", decision, {"reason": "No shops, please"}, service["admin"]).status == 200
    denied = browser.get(path).text
    assert "No shops, please" in denied
    assert browser.post(f"{path}/access", path, note="A school then").status == 303


def test_who_is_no_consumer_is_told_how_to_become_one(browsers: Any, service: Any) -> None:
    signed_out = browsers.browser().post(f"/marketplace/{service['slug']}/access", note="x")
    assert (signed_out.status, signed_out.location) == (303, "/login")


def test_what_is_typed_too_long_is_told_and_kept(browsers: Any, service: Any) -> None:
    browser, path = browsers.register(), f"/marketplace/{service['slug']}"
    answer = browser.post(f"{path}/access", path, note="n" * 501)
    assert answer.status == 400
    assert 'id="f-note-error"' in answer.text
    assert "n" * 501 in answer.text
