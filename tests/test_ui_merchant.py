"""A merchant's pages: services from draft to the marketplace, push tokens; nobody else's are to be seen."""

import re
import secrets
from dataclasses import dataclass
from html import unescape

import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import JSON, People, Rest
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import new_service, typed_price

BASE_URL = "https://api.maps.example/v1"


@dataclass(frozen=True, slots=True)
class SignedInMerchant:
    """A merchant at the web UI, and through REST; the admin through REST."""

    tag: str
    browser: Browser
    rest: Rest
    admin: Rest

    async def make_service(self, **changes: object) -> JSON:
        """Waits while the news of the registration is on its way to the catalogue."""
        return await self.rest.post_eventually("/services", **new_service(BASE_URL, **changes))


@pytest.fixture
async def merchant(system: RunningSystem, people: People) -> SignedInMerchant:
    tag = secrets.token_hex(4)
    admin = await people.sign_in(ADMIN_EMAIL)
    rest = await people.register_merchant(admin, f"shop-{tag}@example.com", f"Maps {tag}")
    return SignedInMerchant(tag, await sign_in(system, people, f"shop-{tag}@example.com"), rest, admin)


def typed(**changes: str) -> dict[str, str]:
    """A good form of a new service."""
    return {
        "type": "API",
        "name": "Geo",
        "description": "Where is it?",
        "version": "1.0.0",
        "tags": "Maps, geo",
        "base_url": BASE_URL,
        "documentation_url": "",
        **typed_price("0,0035", "CHF"),
        "rate_limit_per_minute": "60",
        "additional_info": "",
        "idempotency_key": secrets.token_hex(8),
    } | changes


def create(browser: Browser, **changes: str) -> Page:
    return browser.post("/merchant/services", "/merchant/services/new", **typed(**changes))


async def test_a_draft_is_made_changed_submitted_and_shown_with_its_rejection(
    merchant: SignedInMerchant,
) -> None:
    browser = merchant.browser
    await merchant.make_service(name="First")
    path = create(browser, name=f"Geo {merchant.tag}").location
    assert re.fullmatch(r"/merchant/services/[0-9a-f-]{36}", path)
    draft = browser.get(path).text
    assert "CHF 0.0035" in draft
    assert f"/api/consume/geo-{merchant.tag}/" in draft
    assert (
        browser.post(f"{path}/edit", f"{path}/edit", **typed(name=f"Atlas {merchant.tag}")).location == path
    )
    assert browser.post(f"{path}/submit", path).location == path
    assert "Waiting for approval" in browser.get(path).text
    assert browser.get(f"{path}/edit").location == path
    await merchant.admin.post(f"/services/{path.rpartition('/')[2]}:reject", reason="No docs <yet>")
    rejected = browser.get(path).text
    assert "No docs &lt;yet&gt;" in rejected
    assert f"Atlas {merchant.tag}" in browser.get("/merchant/services?status=rejected").text
    assert f"Atlas {merchant.tag}" in browser.get("/merchant").text
    assert "Nothing matches" in browser.get("/merchant/services?status=active").text


async def test_an_active_service_keeps_its_price_and_changes_its_description(
    merchant: SignedInMerchant,
) -> None:
    service = await merchant.make_service()
    path, rest_path = f"/merchant/services/{service['serviceId']}", f"/services/{service['serviceId']}"
    await merchant.rest.post(f"{rest_path}:submit")
    await merchant.admin.post(f"{rest_path}:approve")
    assert 'name="price.currency_code"' not in merchant.browser.get(f"{path}/edit").text
    merchant.browser.post(f"{path}/edit", f"{path}/edit", **typed(description="Better"))
    after = await merchant.rest.get(rest_path)
    assert (after["description"], after["price"], after["name"]) == (
        "Better",
        service["price"],
        service["name"],
    )


async def test_what_is_wrong_stands_beside_the_field_and_nothing_typed_is_lost(
    merchant: SignedInMerchant,
) -> None:
    await merchant.make_service()
    wrong = {
        "price.components.0.per_unit.amount": "cheap",
        "rate_limit_per_minute": "many",
        "documentation_url": "docs <b>",
    }
    answer = create(merchant.browser, name="Kept", **wrong)
    assert answer.status == 400
    assert 'id="f-price-components-0-per-unit-amount-error"' in answer.text
    assert 'id="f-rate-limit-per-minute-error"' in answer.text
    for text in ("Kept", "cheap", "many", "docs &lt;b&gt;"):
        assert f'value="{text}"' in answer.text
    told_by_the_service = create(merchant.browser, name="", tags="Bad_Tag", base_url="nowhere")
    for control in ("f-name", "f-tags", "f-base-url"):
        assert f'id="{control}-error"' in told_by_the_service.text, control
    assert "Kept" not in merchant.browser.get("/merchant/services").text


async def test_a_push_token_is_shown_once_and_revoked(merchant: SignedInMerchant) -> None:
    service = await merchant.make_service(type="DOCKER", baseUrl="")
    browser = merchant.browser
    fields = {"service_id": service["serviceId"], "name": "build server", "ttl_hours": "24"}

    async def made() -> Page | None:
        answer = browser.post("/merchant/images/tokens", "/merchant/images", **fields)
        return answer if answer.status == 200 else None

    page = await eventually(made)
    assert page is not None
    secret = re.search(r"ams_push_\w{20,}", page.text)
    assert secret
    assert f"docker login {page.text.partition('docker login ')[2].partition(' ')[0]}" in page.text
    listed = browser.get("/merchant/images").text
    assert "build server" in listed
    assert secret[0] not in listed
    revoke = re.search(r"/merchant/images/tokens/[0-9a-f-]{36}/revoke", listed)
    assert revoke
    assert browser.post(revoke[0], "/merchant/images", confirm="ams_push").location == "/merchant/images"
    assert "Revoked" not in browser.get("/merchant/images").text
    prefix = secret[0][: len("ams_push_") + 8]
    assert browser.post(revoke[0], "/merchant/images", confirm=prefix).location == "/merchant/images"
    assert "Revoked" in browser.get("/merchant/images").text


async def test_who_may_not_see_a_service_learns_nothing(
    merchant: SignedInMerchant, system: RunningSystem, people: People
) -> None:
    service = await merchant.make_service(name=f"Hidden {merchant.tag}")
    path = f"/merchant/services/{service['serviceId']}"
    other_email = f"other-{merchant.tag}@example.com"
    await people.register_merchant(merchant.admin, other_email, f"Other {merchant.tag}")
    outsider = await sign_in(system, people, other_email)
    for address in (path, f"{path}/edit", "/merchant/services/not-an-id"):
        page = outsider.get(address)
        assert page.status == 404
        assert "There is no such page" in page.text
        assert "Hidden" not in page.text
    assert outsider.post(f"{path}/submit", "/merchant").status == 404
    assert (await merchant.rest.get(f"/services/{service['serviceId']}"))["status"] == "DRAFT"
    admin = await sign_in(system, people, ADMIN_EMAIL)
    assert admin.get(path).status == 403
    assert Browser(system.port("ams-bff")).get(path).location == f"/login?next={path}"


async def test_how_calls_are_forwarded_is_set_with_the_service_and_while_it_is_active(
    merchant: SignedInMerchant, system: RunningSystem
) -> None:
    await merchant.make_service()
    settings = {
        "forwarding.first_byte_timeout_s": "90",
        "forwarding.quota_per_day": "5,000",
        "forwarding.switches": "passes_cookies",
        "forwarding.cors_origins": "https://app.example.com\nhttp://localhost:3000",
    }
    path = create(merchant.browser, name=f"Geo {merchant.tag}", **settings).location
    rest_path = f"/services/{path.rpartition('/')[2]}"
    made = await merchant.rest.get(rest_path)
    assert {name: value for name, value in made["forwarding"].items() if value} == {
        "firstByteTimeoutS": 90,
        "quotaPerDay": 5000,
        "passesCookies": True,
        "corsOrigins": ["https://app.example.com", "http://localhost:3000"],
    }
    await merchant.rest.post(f"{rest_path}:submit")
    await merchant.admin.post(f"{rest_path}:approve")
    form = merchant.browser.get(f"{path}/edit").text
    assert re.search(r'name="forwarding.first_byte_timeout_s"[^>]* value="90"', form)
    assert re.search(r'value="passes_cookies" checked', form)
    edited = typed(
        **settings | {"forwarding.first_byte_timeout_s": "", "forwarding.quota_per_month": "70000"}
    )
    assert merchant.browser.post(f"{path}/edit", f"{path}/edit", **edited).location == path
    own = merchant.browser.get(path).text
    marketplace = await public_page(system, f"/marketplace/{made['slug']}")
    for text in (own, marketplace):
        assert "within 30 seconds" in text  # the platform's default again
        assert "5,000 calls a day, 70,000 calls a month" in text
        assert "Pass, within the service’s own path" in text
        assert "https://app.example.com" in text
    assert "api.maps.example" in own
    assert "api.maps.example" not in marketplace
    assert "gateway worker" not in marketplace


async def public_page(system: RunningSystem, path: str) -> str:
    """The page as everybody sees it, once it is there."""

    async def answered() -> Page | None:
        page = Browser(system.port("ams-bff")).get(path)
        return page if page.status == 200 else None

    page = await eventually(answered)
    assert page is not None
    return page.text


async def test_settings_that_cannot_be_are_told_at_their_fields(merchant: SignedInMerchant) -> None:
    await merchant.make_service()
    too_much = create(merchant.browser, **{"forwarding.idle_timeout_s": "3601"})
    assert too_much.status == 400
    assert 'id="f-forwarding-idle-timeout-s-error"' in too_much.text
    assert "Silence must be a whole number from 0 to 3,600." in too_much.text
    wrong = create(merchant.browser, **{"forwarding.cors_origins": "https://app.example.com/path"})
    assert wrong.status == 400
    assert 'id="f-forwarding-cors-origins-error"' in wrong.text
    for page in (too_much, wrong):
        assert re.search(r'<details class="more for-api" open>', page.text)


async def test_an_image_has_no_forwarding_and_no_proofs(merchant: SignedInMerchant) -> None:
    await merchant.make_service()
    settings = {"forwarding.quota_per_day": "5", "base_url": BASE_URL}
    path = create(merchant.browser, type="DOCKER", name=f"Image {merchant.tag}", **settings).location
    assert merchant.browser.get(f"{path}/credential").status == 404
    assert merchant.browser.post(f"{path}/signing-key", path).status == 404
    assert "forwarding" not in merchant.browser.get(f"{path}/edit").text
    renamed = typed(name="Renamed", base_url="")
    assert merchant.browser.post(f"{path}/edit", f"{path}/edit", **renamed).location == path


async def test_a_credential_is_set_replaced_and_removed_and_never_shown(merchant: SignedInMerchant) -> None:
    service = await merchant.make_service()
    path, browser = f"/merchant/services/{service['serviceId']}", merchant.browser
    credential, secret = f"{path}/credential", f"s3cret-{merchant.tag}"
    refused = [
        browser.post(credential, credential, header_name=name, value=value)
        for name, value in (("Host", secret), ("", secret), ("X-Key", ""), ("X-Key", f"{secret} ü"))
    ]
    for page, control in zip(refused, ("header-name", "header-name", "value", "value"), strict=True):
        assert page.status == 400
        assert f'id="f-{control}-error"' in page.text
    set_now = browser.post(credential, credential, header_name="X-Key", value=f"Bearer {secret}")
    assert set_now.location == path
    shown_pages = [browser.get(each) for each in (path, credential, f"{path}/edit")]
    assert "X-Key" in shown_pages[0].text
    assert "Replace credential" in shown_pages[1].text
    assert all(secret not in page.text for page in (*refused, set_now, *shown_pages))
    read = await merchant.rest.get(f"/services/{service['serviceId']}")
    assert read["upstreamCredential"]["headerName"] == "X-Key"
    assert secret not in str(read)
    assert browser.post(f"{credential}/remove", path).location == path
    assert "Set a credential" in browser.get(path).text


async def test_a_signing_key_is_shown_once_with_what_checks_signatures(merchant: SignedInMerchant) -> None:
    service = await merchant.make_service()
    path, browser = f"/merchant/services/{service['serviceId']}", merchant.browser
    assert "Create a signing key" in browser.get(path).text
    made = browser.post(f"{path}/signing-key", path)
    assert made.status == 200
    assert made.headers["cache-control"] == "no-store"
    [secret] = set(re.findall(r'data-copy="([A-Za-z0-9+/]{43}=)"', made.text))
    [key] = (await merchant.rest.get(f"/services/{service['serviceId']}"))["signingKeys"]
    sample = re.search(r"<pre[^>]*>(.*?)</pre>", made.text, re.DOTALL)
    assert sample
    assert f'SECRETS = {{"{key["signingKeyId"]}": "{secret}"}}' in unescape(sample[1])
    again = browser.post(f"{path}/signing-key", path)
    assert secret not in again.text + browser.get(path).text
    assert "Until your API knows it" in again.text
    keys = (await merchant.rest.get(f"/services/{service['serviceId']}"))["signingKeys"]
    assert [each["signingKeyId"] for each in keys][1] == key["signingKeyId"]


async def test_somebody_elses_proofs_can_neither_be_seen_nor_changed(
    merchant: SignedInMerchant, system: RunningSystem, people: People
) -> None:
    service = await merchant.make_service()
    path = f"/merchant/services/{service['serviceId']}"
    other_email = f"thief-{merchant.tag}@example.com"
    await people.register_merchant(merchant.admin, other_email, f"Thief {merchant.tag}")
    outsider = await sign_in(system, people, other_email)
    assert outsider.get(f"{path}/credential").status == 404
    for action in ("credential", "credential/remove", "signing-key"):
        answer = outsider.post(f"{path}/{action}", "/merchant", header_name="X-Key", value="theirs")
        assert answer.status == 404
    read = await merchant.rest.get(f"/services/{service['serviceId']}")
    assert "signingKeys" not in read or not read["signingKeys"]
    assert not read["upstreamCredential"].get("headerName")
