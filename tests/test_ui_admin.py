"""An admin's pages: the queue, invites, suspending and blocking, the audit log and the commission."""

import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import JSON, People, Rest
from support.plain_browser import Browser
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import new_service


@dataclass(frozen=True, slots=True)
class PendingService:
    """An admin at the web UI; a merchant with a service that waits, through REST."""

    tag: str
    browser: Browser
    admin: Rest
    merchant: Rest
    service: JSON

    @property
    def name(self) -> str:
        return str(self.service["name"])

    @property
    def decision(self) -> str:
        return f"/admin/services/{self.service['serviceId']}/decision"

    async def status(self) -> str:
        return str((await self.merchant.get(f"/services/{self.service['serviceId']}"))["status"])


@pytest.fixture
async def pending(system: RunningSystem, people: People) -> PendingService:
    tag = secrets.token_hex(4)
    admin = await people.sign_in(ADMIN_EMAIL)
    merchant = await people.register_merchant(admin, f"maps-{tag}@example.com", f"Maps {tag}")
    body = new_service("https://api.maps.example", name=f"Geo {tag}")
    service = await merchant.post_eventually("/services", **body)
    await merchant.post(f"/services/{service['serviceId']}:submit")
    return PendingService(tag, await sign_in(system, people, ADMIN_EMAIL), admin, merchant, service)


async def test_approving_from_the_queue_publishes_the_service(pending: PendingService) -> None:
    waiting = pending.browser.get("/admin").text
    for fact in (pending.name, f"Maps {pending.tag}", "EUR 0.005 per request", "https://api.maps.example"):
        assert fact in waiting
    answer = pending.browser.post(pending.decision, "/admin", decision="approve", reason="")
    assert (answer.status, answer.location) == (303, "/admin")
    after = pending.browser.get("/admin").text
    assert f"{pending.name} is approved" in after
    assert f'id="item-{pending.service["serviceId"]}"' not in after
    assert await pending.status() == "ACTIVE"


async def test_rejecting_needs_a_reason_and_keeps_what_was_asked(pending: PendingService) -> None:
    refused = pending.browser.post(pending.decision, "/admin", decision="refuse", reason=" ")
    assert refused.status == 400
    assert "A reason is required" in refused.text
    assert await pending.status() == "PENDING_APPROVAL"
    page = f"/admin/services/{pending.service['serviceId']}"
    fields = {"decision": "refuse", "from": "service"}
    assert "A reason is required" in pending.browser.post(pending.decision, page, reason="", **fields).text
    answer = pending.browser.post(pending.decision, page, reason="No <docs>", **fields)
    assert answer.location == page
    assert "No &lt;docs&gt;" in pending.browser.get(page).text
    assert await pending.status() == "REJECTED"


async def test_a_decision_in_place_takes_only_its_row_away(pending: PendingService) -> None:
    token = pending.browser.get("/admin").hidden("csrf")
    body, headers = urlencode({"csrf": token, "decision": "approve"}), {"HX-Request": "true"}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    part = pending.browser.send("POST", pending.decision, body, headers)
    assert part.status == 200
    assert "<html" not in part.text
    assert f'id="item-{pending.service["serviceId"]}" hx-swap-oob="delete"' in part.text
    again = pending.browser.send("POST", pending.decision, body, headers)
    assert "decided already" in again.text
    assert await pending.status() == "ACTIVE"


async def test_a_change_of_a_live_service_is_decided_field_by_field_and_never_unseen(
    pending: PendingService,
) -> None:
    service_id, browser = pending.service["serviceId"], pending.browser
    await pending.admin.post(f"/services/{service_id}:approve")
    path, page = f"/services/{service_id}", f"/admin/services/{service_id}"

    async def change(**fields: object) -> JSON:
        changed = await pending.merchant.patch(path, updateMask=",".join(fields), **fields)
        return dict(changed["revision"])

    revision = await change(description="Words <new>", baseUrl="https://api2.maps.example")
    decision = f"{page}/revisions/{revision['revisionId']}/decision"
    for shown in (browser.get("/admin").text, browser.get(page).text):
        assert "<del>https://api.maps.example</del>" in shown
        assert "<ins>https://api2.maps.example</ins>" in shown
        assert "<ins>Words &lt;new&gt;</ins>" in shown
    # It is another one meanwhile than the admin has looked at.
    await change(description="Words that nobody saw")
    stale = browser.post(decision, "/admin", decision="approve", version=str(revision["version"]))
    assert stale.status == 409
    assert "has changed since you looked at it" in stale.text
    assert "Words that nobody saw" in stale.text
    needs_reason = browser.post(
        decision, page, decision="refuse", version="2", reason="", **{"from": "service"}
    )
    assert needs_reason.status == 400
    assert "A reason is required" in needs_reason.text
    fields = {"decision": "approve", "version": "2", "from": "service"}
    assert browser.post(decision, page, **fields).location == page
    after = await pending.merchant.get(path)
    assert (after["description"], after["baseUrl"]) == ("Words that nobody saw", "https://api2.maps.example")
    assert "Revision 1 approved" in browser.get(page).text
    rejected = await change(version="2.0.0")
    decision = f"{page}/revisions/{rejected['revisionId']}/decision"
    browser.post(decision, "/admin", decision="refuse", version="1", reason="Not <yet>")
    assert (await pending.merchant.get(path))["version"] == after["version"]
    assert "Not &lt;yet&gt;" in browser.get(page).text


async def test_a_service_is_suspended_with_a_reason_and_reinstated(pending: PendingService) -> None:
    service_id, browser = pending.service["serviceId"], pending.browser
    await pending.admin.post(f"/services/{service_id}:approve")
    page = f"/admin/services/{service_id}"
    refused = browser.post(f"{page}/suspend", page, action="suspend", reason="")
    assert refused.status == 400
    assert await pending.status() == "ACTIVE"
    assert browser.post(f"{page}/suspend", page, action="suspend", reason="Spam <b>").location == page
    assert await pending.status() == "SERVICE_SUSPENDED"
    assert "Reason: Spam &lt;b&gt;" in browser.get(page).text
    assert browser.post(f"{page}/reinstate", page).location == page
    assert await pending.status() == "ACTIVE"


async def test_access_is_decided_with_the_consumer_in_sight(pending: PendingService, people: People) -> None:
    service_id = pending.service["serviceId"]
    await pending.admin.post(f"/services/{service_id}:approve")
    email = f"ann-{pending.tag}@example.com"
    consumer = await people.register_consumer(email)
    asked = await consumer.post_eventually("/access-requests", serviceId=service_id, note="For <us>")
    request_id = asked["accessRequestId"]
    queue = pending.browser.get("/admin").text
    assert email in queue
    assert "For &lt;us&gt;" in queue
    path = f"/admin/access-requests/{request_id}/decision"
    pending.browser.post(path, "/admin", decision="refuse", reason="Not now")
    [decided] = (await consumer.get("/consumer/access-requests"))["accessRequests"]
    assert (decided["status"], decided["reason"]) == ("DENIED", "Not now")


async def test_an_invite_is_mailed_and_a_bad_address_stays_in_the_form(
    pending: PendingService, people: People
) -> None:
    email = f"new-{pending.tag}@example.com"
    page = "/admin/merchants"
    assert pending.browser.post(page, page, email=email, note="From the fair").location == page
    assert "/register/merchant?" in await people.mail.next_text(email)
    listed = pending.browser.get(page).text
    assert email in listed
    assert "From the fair" in listed
    refused = pending.browser.post(page, page, email="nobody", note="Keep me")
    assert refused.status == 400
    assert 'id="f-email-error"' in refused.text
    assert 'value="nobody"' in refused.text
    assert "Keep me" in refused.text


async def test_suspending_and_blocking_can_be_undone(pending: PendingService, people: People) -> None:
    merchant = f"/admin/merchants/{pending.service['merchantId']}"
    await pending.admin.post(f"/services/{pending.service['serviceId']}:approve")
    pending.browser.post(f"{merchant}/suspend", merchant, reason="Complaints")
    shown = pending.browser.get(merchant).text
    assert "is suspended" in shown
    assert f'action="{merchant}/reinstate"' in shown
    assert "<span>Undo</span>" in shown

    async def is_unavailable() -> bool:
        return "Not available" in pending.browser.get(f"/admin/services?q={pending.tag}").text

    await eventually(is_unavailable)
    pending.browser.post(f"{merchant}/reinstate", merchant)
    assert "is reinstated" in pending.browser.get(merchant).text

    me = await (await people.register_consumer(f"bob-{pending.tag}@example.com")).get("/me")
    consumer = f"/admin/consumers/{me['userId']}"
    pending.browser.post(f"{consumer}/block", consumer)
    assert "is blocked" in pending.browser.get(consumer).text
    assert me["userId"] in pending.browser.get("/admin/consumers?standing=blocked").text
    pending.browser.post(f"{consumer}/unblock", consumer)
    assert me["userId"] not in pending.browser.get("/admin/consumers?standing=blocked").text


async def test_the_audit_log_tells_and_exports_who_did_what(pending: PendingService) -> None:
    query = f"resource_id={pending.service['serviceId']}"

    async def told() -> bool:
        return "service.submit</code>" in pending.browser.get(f"/admin/governance?{query}").text

    await eventually(told)
    assert f"maps-{pending.tag}@example.com" in pending.browser.get(f"/admin/governance?{query}").text
    lines = pending.browser.get(f"/admin/governance/table.csv?{query}").text.splitlines()
    assert [line.split(",")[3] for line in lines] == ["action", "service.submit", "service.create"]


async def test_the_commission_is_set_as_a_percentage_from_a_coming_month(pending: PendingService) -> None:
    page, action = "/admin/settings", "/admin/settings/commission"
    form = pending.browser.get(page).text
    months = re.findall(r'<option value="(\d{4}-\d{2})"', form)
    refused = pending.browser.post(action, page, rate="120", starts_in=months[-1])
    assert refused.status == 400
    assert 'value="120"' in refused.text
    assert pending.browser.post(action, page, rate="12,5", starts_in=months[-1]).location == page
    assert "12.5%" in pending.browser.get(page).text


async def test_only_admins_come_in(pending: PendingService, system: RunningSystem, people: People) -> None:
    nobody = Browser(system.port("ams-bff"))
    merchant = await sign_in(system, people, f"maps-{pending.tag}@example.com")
    pages = (
        "/admin",
        "/admin/merchants",
        "/admin/consumers",
        "/admin/services",
        "/admin/governance",
        "/admin/team",
    )
    for path in pages:
        assert pending.browser.get(path).status == 200
        assert merchant.get(path).status == 403
        assert nobody.get(path).location == f"/login?next={path}"
    assert merchant.post(pending.decision, "/merchant", decision="approve").status == 403
    assert await pending.status() == "PENDING_APPROVAL"
    missing = pending.browser.get("/admin/services/01900000-0000-7000-8000-000000000000")
    assert missing.status == 404
