"""A service's OpenAPI document: attached on its page or by REST, looked at by an admin, read by everybody."""

import json
import secrets

import pytest
from ams_local.rest import JSON, People, Rest
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import new_service

HOST = "api.maps-of-rivers.example"
BASE_URL = f"https://{HOST}/v1"
DOCUMENT = f"""\
openapi: 3.1.0
info: {{title: River maps, version: "3"}}
servers: [{{url: "{BASE_URL}"}}]
paths:
  /rivers/{{name}}:
    get:
      tags: [Rivers]
      summary: Look up a waterway <script>alert(1)</script>
      description: The same as {BASE_URL}/rivers would tell.
      parameters:
        - {{name: name, in: path, required: true, example: "$(reboot)'s", schema: {{type: string}}}}
      responses:
        200:
          description: Found
          content:
            application/json:
              schema: {{type: object, required: [length_km], properties: {{length_km: {{type: number}}}}}}
"""
BROKEN = "openapi: 3.1.0\ninfo: {title: River maps}\npaths:\n  /a:\n    get:\n      responses: 5\n"


@pytest.fixture
async def admin(people: People) -> Rest:
    return await people.sign_in(ADMIN_EMAIL)


@pytest.fixture
async def merchant(system: RunningSystem, people: People, admin: Rest) -> tuple[Browser, Rest]:
    """At the web UI, and through REST."""
    email = f"rivers-{secrets.token_hex(4)}@example.com"
    rest = await people.register_merchant(admin, email, "Rivers Ltd")
    return await sign_in(system, people, email), rest


async def publish(merchant: Rest, admin: Rest, document: str = "") -> JSON:
    made = await merchant.post_eventually("/services", **new_service(BASE_URL, name="River maps"))
    path = f"/services/{made['serviceId']}"
    if document:
        await merchant.post_eventually(f"{path}/openapi-document", content=document)
    await merchant.post(f"{path}:submit")
    return await admin.post_eventually(f"{path}:approve")


async def test_a_document_is_uploaded_approved_and_read(
    system: RunningSystem, people: People, admin: Rest, merchant: tuple[Browser, Rest]
) -> None:
    browser, rest = merchant
    service = await publish(rest, admin)
    page = f"/merchant/services/{service['serviceId']}/openapi"

    refused = browser.upload(page, page, BROKEN.encode())
    assert refused.status == 400
    assert "“version” is missing" in refused.text
    assert "At line 6, #/paths/~1a/get/responses: this must be an object." in refused.text.replace(
        "<wbr>", ""
    )
    assert browser.upload(page, page, b"\xff\xfe").status == 400
    assert browser.upload(page, page, b"").status == 400
    accepted = browser.upload(page, page, DOCUMENT.encode())
    assert accepted.location == page, accepted.text
    assert "Waits for approval" in browser.get(page).text
    assert browser.get(f"{page}/file?proposed").text == DOCUMENT

    at_admin = await sign_in(system, people, ADMIN_EMAIL)
    looked_at = at_admin.get(f"/admin/services/{service['serviceId']}/openapi").text
    assert "What it changes" in looked_at
    assert "Look up a waterway &lt;script&gt;" in looked_at
    assert "River maps 3, 1 operation" in at_admin.get(f"/admin/services/{service['serviceId']}").text
    assert "API reference" not in Browser(system.port("ams-bff")).get(f"/marketplace/{service['slug']}").text
    waiting = (await rest.get(f"/services/{service['serviceId']}"))["revision"]
    revision = f"/services/{service['serviceId']}/revisions/{waiting['revisionId']}"
    await admin.post(f"{revision}:approve", version=waiting["version"])
    assert "Waits for approval" not in browser.get(page).text


async def test_everybody_reads_it_and_nobody_learns_the_base_url(
    system: RunningSystem, admin: Rest, merchant: tuple[Browser, Rest], rest: Rest
) -> None:
    service = await publish(merchant[1], admin, DOCUMENT)
    path, visitor = f"/marketplace/{service['slug']}", Browser(system.port("ams-bff"))
    address = f"{system.gateway_url}/api/consume/{service['slug']}"
    operation = f"{path}/reference/get-rivers-name"
    pages: list[Page] = [visitor.get(each) for each in (path, f"{path}/reference", operation)]
    for page in pages:
        assert page.status == 200
        assert "Look up a waterway &lt;script&gt;" in page.text
        assert HOST not in page.text
    assert "length_km" in pages[1].text
    # Whoever pastes it runs nothing but curl.
    assert f"curl {address}/rivers/%24%28reboot%29%27s" in pages[2].text
    downloaded = visitor.get(f"{path}/openapi.json")
    assert HOST not in downloaded.text
    assert json.loads(downloaded.text)["servers"] == [{"url": address}]
    by_rest = await rest.get(f"/marketplace/services/{service['slug']}/openapi-document")
    assert by_rest["content"] == downloaded.text
    reference = await rest.get(f"/marketplace/services/{service['slug']}/api-reference")
    assert [each["path"] for each in reference["operations"]] == ["/rivers/{name}"]
    assert HOST not in json.dumps([by_rest, reference])
    found = await rest.get("/marketplace/services", query="waterways")
    assert service["serviceId"] in [each["serviceId"] for each in found["services"]]
    assert visitor.get(f"{path}/reference/nothing").status == 404


async def test_of_somebody_elses_service_nothing_is_to_be_seen(
    system: RunningSystem, people: People, admin: Rest, merchant: tuple[Browser, Rest]
) -> None:
    service = await publish(merchant[1], admin, DOCUMENT)
    email = f"other-{secrets.token_hex(4)}@example.com"
    await people.register_merchant(admin, email, "Others Ltd")
    other = await sign_in(system, people, email)
    page = f"/merchant/services/{service['serviceId']}/openapi"
    assert other.get(page).status == 404
    assert other.get(f"{page}/file").status == 404
    assert other.upload(page, "/merchant/profile", DOCUMENT.encode()).status == 404
    assert other.get(f"/admin/services/{service['serviceId']}/openapi").status == 403
