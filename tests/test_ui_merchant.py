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


async def test_an_active_service_keeps_its_price_and_changes_its_words_once_an_admin_agrees(
    merchant: SignedInMerchant,
) -> None:
    service = await merchant.make_service()
    path, rest_path = f"/merchant/services/{service['serviceId']}", f"/services/{service['serviceId']}"
    await merchant.rest.post(f"{rest_path}:submit")
    await merchant.admin.post(f"{rest_path}:approve")
    assert 'name="price.currency_code"' not in merchant.browser.get(f"{path}/edit").text
    merchant.browser.post(f"{path}/edit", f"{path}/edit", **typed(description="Better <words>"))
    waiting = await merchant.rest.get(rest_path)
    assert (waiting["description"], waiting["price"]) == (service["description"], service["price"])
    shown = merchant.browser.get(path).text
    assert "Your change waits for approval" in shown
    assert "<ins>Better &lt;words&gt;</ins>" in shown
    # What waits stands in the form, with the state that it was opened in.
    form = merchant.browser.get(f"{path}/edit").text
    assert "Better &lt;words&gt;" in form
    assert f'name="etag" value="{waiting["etag"]}"' in form
    revision = waiting["revision"]
    assert merchant.browser.post(f"{path}/revisions/{revision['revisionId']}/withdraw", path).location == path
    assert "Your change waits" not in merchant.browser.get(path).text
    merchant.browser.post(f"{path}/edit", f"{path}/edit", **typed(description="Best", name="Atlas"))
    revision = (await merchant.rest.get(rest_path))["revision"]
    approve = f"{rest_path}/revisions/{revision['revisionId']}:approve"
    await merchant.admin.post(approve, version=revision["version"])
    after = await merchant.rest.get(rest_path)
    assert (after["description"], after["name"], after["price"]) == ("Best", "Atlas", service["price"])
    assert "Revision 2 approved" in merchant.browser.get(path).text


async def test_a_service_is_withdrawn_and_retired_by_its_name(merchant: SignedInMerchant) -> None:
    service = await merchant.make_service(name=f"Geo {merchant.tag}")
    path, rest_path = f"/merchant/services/{service['serviceId']}", f"/services/{service['serviceId']}"
    await merchant.rest.post(f"{rest_path}:submit")
    assert merchant.browser.post(f"{path}/withdraw", path).location == path
    assert (await merchant.rest.get(rest_path))["status"] == "DRAFT"
    refused = merchant.browser.post(f"{path}/retire", path, confirm="Geo")
    assert refused.status == 400
    assert (await merchant.rest.get(rest_path))["status"] == "DRAFT"
    assert merchant.browser.post(f"{path}/retire", path, confirm=f"Geo {merchant.tag}").location == path
    assert "You have taken it out of use for good" in merchant.browser.get(path).text
    assert f"Geo {merchant.tag}" in merchant.browser.get("/merchant/services?status=retired").text
    assert merchant.browser.get(f"{path}/edit").location == path


async def test_metadata_is_typed_shown_to_consumers_and_told_at_its_fields(
    merchant: SignedInMerchant, system: RunningSystem
) -> None:
    await merchant.make_service()
    fields = {
        "authentication_method": "3",
        "formats": "JSON, csv",
        "service_levels.availability_ppm": "99,95",
        "service_levels.latency_p95_ms": "250",
        "support_contact.email": "help@maps.example",
        "categories": "location",
        "visibility": "1",
        "tracing.skips": "skips_response_size",
        "forwarding.limit_scope": "2",
    }
    wrong = create(
        merchant.browser,
        **fields | {"service_levels.availability_ppm": "101", "support_contact.email": "nobody"},
    )
    assert wrong.status == 400
    assert 'id="f-service-levels-availability-ppm-error"' in wrong.text
    path = create(merchant.browser, name=f"Geo {merchant.tag}", **fields).location
    rest_path = f"/services/{path.rpartition('/')[2]}"
    made = await merchant.rest.get(rest_path)
    assert made["serviceLevels"] == {"availabilityPpm": 999_500, "latencyP95Ms": 250}
    assert (made["formats"], made["categories"]) == (["json", "csv"], ["location"])
    assert made["tracing"]["skipsResponseSize"] is True
    # Saved as it was opened, nothing changes.
    form = merchant.browser.get(f"{path}/edit").text
    assert re.search(r'name="service_levels.availability_ppm"[^>]* value="99.95"', form)
    await merchant.rest.post(f"{rest_path}:submit")
    await merchant.admin.post(f"{rest_path}:approve")
    marketplace = await public_page(system, f"/marketplace/{made['slug']}")
    for text in (
        *("AMS API key and OAuth 2.0", "json, csv", "99.95 %", "250 ms", "help@maps.example"),
        *("Maps and location", "60 calls a minute, for each key", "the size of answers"),
    ):
        assert text in marketplace, text
    listed = Browser(system.port("ams-bff")).get("/marketplace?category=location").text
    assert f"Geo {merchant.tag}" in listed


async def test_an_images_type_and_parameters_are_typed_in_rows_that_close_up(
    merchant: SignedInMerchant, system: RunningSystem
) -> None:
    await merchant.make_service()
    rows = {
        "image_type": "3",
        "runtime_parameters.0.name": "AMS_API_KEY",
        "runtime_parameters.0.rules": "secret",
        "runtime_parameters.2.name": "LOG_LEVEL",
        "runtime_parameters.2.default_value": "info",
        "runtime_parameters.2.description": "How much it says",
    }
    wrong = create(merchant.browser, type="DOCKER", **rows | {"runtime_parameters.2.name": "1X"})
    assert wrong.status == 400
    assert 'id="f-runtime-parameters-1-name-error"' in wrong.text
    path = create(merchant.browser, type="DOCKER", name=f"Image {merchant.tag}", **rows).location
    made = await merchant.rest.get(f"/services/{path.rpartition('/')[2]}")
    assert made["imageType"] == "BATCH_PROCESSOR"
    names = [each["name"] for each in made["runtimeParameters"]]
    assert names == ["AMS_API_KEY", "LOG_LEVEL"]
    assert "How much it says" in merchant.browser.get(path).text


async def test_a_private_service_is_opened_by_its_link_and_by_nothing_else(
    merchant: SignedInMerchant, system: RunningSystem, people: People
) -> None:
    service = await merchant.make_service(name=f"Geo {merchant.tag}", visibility="PRIVATE")
    path, rest_path = f"/merchant/services/{service['serviceId']}", f"/services/{service['serviceId']}"
    await merchant.rest.post(f"{rest_path}:submit")
    await merchant.admin.post(f"{rest_path}:approve")
    made = merchant.browser.post(
        f"{path}/invitations", f"{path}/invitations", note="Example", max_uses="1", valid_days="7"
    )
    link = re.search(r"/marketplace/invitation/[\w-]{43}", made.text)
    assert made.status == 200 and link
    assert "Example" in merchant.browser.get(f"{path}/invitations").text
    assert link[0] not in merchant.browser.get(f"{path}/invitations").text
    email = f"guest-{merchant.tag}@example.com"
    guest_rest = await people.register_consumer(email, "Guest")
    guest = await sign_in(system, people, email)
    public = f"/marketplace/{service['slug']}"
    assert guest.get(public).status == 404
    assert Browser(system.port("ams-bff")).get(public).status == 404
    asked = await guest_rest.ask("POST", "/access-requests", {"serviceId": service["serviceId"]})
    assert asked.status == 404
    # Looking at the link accepts nothing.
    assert "Accept the invitation" in guest.get(link[0]).text
    assert guest.get(public).status == 404
    assert guest.post(link[0], link[0]).location == public
    assert f"Geo {merchant.tag}" in guest.get(public).text
    assert f"Geo {merchant.tag}" in guest.get("/marketplace").text
    assert f"Geo {merchant.tag}" not in Browser(system.port("ams-bff")).get("/marketplace").text
    await guest_rest.post_eventually("/access-requests", serviceId=service["serviceId"])
    assert guest.post("/marketplace/invitation/nothing", link[0]).status == 404


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
        "limitScope": "PER_CONSUMER",
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
        assert "Pass, within the service’s own path" in text
        assert "https://app.example.com" in text
        assert "5,000 a day, for each consumer" in text
    # The new quota waits for an admin, and the rest of the form does with it.
    assert re.search(r"<dt>Quota per month</dt>\s*<dd><del>no limit</del>\s*<ins>70,000</ins>", own)
    assert "api.maps.example" in own
    assert "api.maps.example" not in marketplace
    assert "at once from each of AMS’s gateways" in own
    assert "at once from each of AMS’s gateways" not in marketplace


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
    assert "Longest pause must be a whole number from 0 to 3,600." in too_much.text
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
        browser.post(credential, credential, kind="1", header_name=name, value=value)
        for name, value in (("Host", secret), ("", secret), ("X-Key", ""), ("X-Key", f"{secret} ü"))
    ]
    for page, control in zip(refused, ("header-name", "header-name", "value", "value"), strict=True):
        assert page.status == 400
        assert f'id="f-{control}-error"' in page.text
    set_now = browser.post(credential, credential, kind="1", header_name="X-Key", value=f"Bearer {secret}")
    assert set_now.location == path
    shown_pages = [browser.get(each) for each in (path, credential, f"{path}/edit")]
    assert "X-Key" in shown_pages[0].text
    assert "Replace credential" in shown_pages[1].text
    assert all(secret not in page.text for page in (*refused, set_now, *shown_pages))
    read = await merchant.rest.get(f"/services/{service['serviceId']}")
    assert read["upstreamCredential"]["headerName"] == "X-Key"
    assert secret not in str(read)
    for kind, name in (("2", "BASIC"), ("3", "BEARER")):
        # The header field stands there from before, and isn't what is meant.
        fields = {"kind": kind, "username": "ams", "header_name": "X-Key", "value": secret}
        assert browser.post(credential, credential, **fields).location == path
        read = await merchant.rest.get(f"/services/{service['serviceId']}")
        assert read["upstreamCredential"]["kind"] == name
        assert read["upstreamCredential"]["headerName"] == "Authorization"
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
    assert "Use now" not in browser.get(path).text
    # Another one begins in a day, unless its merchant says earlier, or that the present one has leaked.
    again = browser.post(f"{path}/signing-key", path)
    assert secret not in again.text + browser.get(path).text
    assert "Until then" in again.text

    async def keys() -> list[str]:
        read = await merchant.rest.get(f"/services/{service['serviceId']}")
        return [each["signingKeyId"] for each in read["signingKeys"]]

    following, *others = await keys()
    assert others == [key["signingKeyId"]]
    assert "<dt>Next</dt>" in browser.get(path).text
    used = browser.post(f"{path}/signing-key/use", path)
    assert (used.status, used.location) == (303, path)
    assert "with the next key from now on" in browser.get(path).text
    assert await keys() == [following, key["signingKeyId"]]
    twice = browser.post(f"{path}/signing-key/use", path)
    assert (twice.status, twice.location) == (303, path)
    assert "No other signing key is to begin" in browser.get(path).text
    leaked = browser.post(f"{path}/signing-key", path, start="at_once")
    assert "Until your API knows it" in leaked.text
    assert "<dt>Next</dt>" not in browser.get(path).text
    assert (await keys())[1:] == [following]


async def test_somebody_elses_proofs_can_neither_be_seen_nor_changed(
    merchant: SignedInMerchant, system: RunningSystem, people: People
) -> None:
    service = await merchant.make_service()
    path = f"/merchant/services/{service['serviceId']}"
    other_email = f"thief-{merchant.tag}@example.com"
    await people.register_merchant(merchant.admin, other_email, f"Thief {merchant.tag}")
    outsider = await sign_in(system, people, other_email)
    assert outsider.get(f"{path}/credential").status == 404
    for action in ("credential", "credential/remove", "signing-key", "signing-key/use"):
        answer = outsider.post(f"{path}/{action}", "/merchant", header_name="X-Key", value="theirs")
        assert answer.status == 404
    read = await merchant.rest.get(f"/services/{service['serviceId']}")
    assert "signingKeys" not in read or not read["signingKeys"]
    assert not read["upstreamCredential"].get("headerName")
