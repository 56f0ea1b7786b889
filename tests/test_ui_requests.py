"""An admin decides about several requests at once, without scripts; what can't be decided says why."""

import secrets
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlencode

import pytest
from ams_local.rest import JSON, People, Rest
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import new_service

_PATH = "/admin/requests"


@dataclass(frozen=True, slots=True)
class Requests:
    """A merchant's service that waits, a change of another one, and a consumer who asks for a third."""

    browser: Browser
    admin: Rest
    merchant: Rest
    consumer: Rest
    service: JSON
    changed: JSON
    revision: JSON
    access: JSON

    @property
    def marks(self) -> tuple[str, str, str]:
        """What the form calls the three."""
        change = f"{self.changed['serviceId']}/{self.revision['revisionId']}/{self.revision['version']}"
        return (
            f"service/{self.service['serviceId']}/{self.service['etag']}",
            f"change/{change}",
            f"access/{self.access['accessRequestId']}",
        )

    def decide(self, decision: str, *marks: str, reason: str = "", path: str = _PATH) -> Page:
        fields = [("csrf", self.browser.get("/admin").hidden("csrf")), ("decision", decision)]
        fields += [("reason", reason), *(("request", mark) for mark in marks)]
        return self.browser.send("POST", path, urlencode(fields))

    async def states(self) -> tuple[str, str, str]:
        """What has become of the service, the changed one's description, and the request for access."""
        service = await self.merchant.get(f"/services/{self.service['serviceId']}")
        changed = await self.merchant.get(f"/services/{self.changed['serviceId']}")
        [asked] = (await self.consumer.get("/consumer/access-requests"))["accessRequests"]
        return service["status"], changed["description"], asked["status"]


@pytest.fixture
async def requests(system: RunningSystem, people: People) -> Requests:
    tag = secrets.token_hex(4)
    admin = await people.sign_in(ADMIN_EMAIL)
    merchant = await people.register_merchant(admin, f"many-{tag}@example.com", f"Many {tag}")
    made = []
    for number in range(3):
        body = new_service("https://api.many.example", name=f"Many {tag} {number}")
        made.append(await merchant.post_eventually("/services", **body))
        await merchant.post(f"/services/{made[-1]['serviceId']}:submit")
    waiting, changed, open_to_all = made
    for service in (changed, open_to_all):
        await admin.post(f"/services/{service['serviceId']}:approve")
    wanted = await merchant.patch(
        f"/services/{changed['serviceId']}", updateMask="description", description="Changed"
    )
    consumer = await people.register_consumer(f"asks-{tag}@example.com")
    access = await consumer.post_eventually(
        "/access-requests", serviceId=open_to_all["serviceId"], note="For <us>"
    )
    browser = await sign_in(system, people, ADMIN_EMAIL)
    # As admins see it: merchants see another.
    waiting = await admin.get(f"/services/{waiting['serviceId']}")
    return Requests(browser, admin, merchant, consumer, waiting, changed, wanted["revision"], access)


async def test_all_kinds_wait_in_one_list_and_are_approved_together(requests: Requests) -> None:
    shown = unescape(requests.browser.get(_PATH).text)
    for mark in requests.marks:
        assert f'name="request" value="{mark}"' in shown
    for fact in ("For <us>", requests.service["name"], requests.changed["name"]):
        assert fact in shown
    only_access = unescape(requests.browser.get(f"{_PATH}?kind=access").text)
    assert [mark in only_access for mark in requests.marks] == [False, False, True]
    answer = requests.decide("approve", *requests.marks)
    assert (answer.status, answer.location) == (303, _PATH)
    after = requests.browser.get(_PATH).text
    assert "3 requests are approved." in after
    assert not any(mark in after for mark in requests.marks)
    assert await requests.states() == ("ACTIVE", "Changed", "APPROVED")


async def test_rejecting_several_needs_a_reason_that_each_of_them_reads(requests: Requests) -> None:
    before = await requests.states()
    refused = requests.decide("refuse", *requests.marks, reason=" ")
    assert refused.status == 400
    assert "A reason is required" in refused.text
    for mark in requests.marks:
        assert f'value="{mark}" checked' in refused.text
    assert await requests.states() == before
    requests.decide("refuse", *requests.marks, reason="Not <now>")
    assert await requests.states() == ("REJECTED", before[1], "DENIED")
    [asked] = (await requests.consumer.get("/consumer/access-requests"))["accessRequests"]
    service = await requests.merchant.get(f"/services/{requests.service['serviceId']}")
    assert (asked["reason"], service["rejectionReason"]) == ("Not <now>", "Not <now>")


async def test_what_goes_wrong_is_named_and_the_others_are_decided(requests: Requests) -> None:
    service, change, access = requests.marks
    await requests.admin.post(f"/access-requests/{requests.access['accessRequestId']}:approve")
    # Another change than the one that the list has shown: it isn't approved unseen.
    await requests.merchant.patch(
        f"/services/{requests.changed['serviceId']}", updateMask="description", description="Unseen"
    )
    answer = requests.decide("approve", service, change, access, "access/nonsense", "nothing/of/ours")
    assert answer.status == 409
    assert "1 request decided, 4 not" in answer.text
    assert "has changed since you looked at it" in answer.text
    assert f'value="{change}"' not in answer.text
    assert (await requests.states())[:2] == ("ACTIVE", requests.changed["description"])


async def test_a_service_is_not_approved_as_nobody_has_seen_it(requests: Requests) -> None:
    """Withdrawn, changed and submitted again between the admin's look and the press of the button."""
    path, [shown, *_] = f"/services/{requests.service['serviceId']}", requests.marks
    await requests.merchant.post(f"{path}:withdraw")
    await requests.merchant.patch(path, updateMask="baseUrl", baseUrl="https://elsewhere.example")
    await requests.merchant.post(f"{path}:submit")
    for decision in ("approve", "refuse"):
        answer = requests.decide(decision, shown, reason="Seen")
        assert answer.status == 409
        assert f"{requests.service['name']}</strong> This has changed since you looked at it." in answer.text
        assert (await requests.states())[0] == "PENDING_APPROVAL"
    seen = await requests.admin.get(path)
    assert f'value="service/{seen["serviceId"]}/{seen["etag"]}"' in requests.browser.get(_PATH).text
    page = f"/admin{path}"
    for origin in ("service", "queue"):
        stale = {"decision": "approve", "etag": requests.service["etag"], "from": origin}
        answer = requests.browser.post(f"{page}/decision", page, **stale)
        assert answer.status == 412
        assert "This has changed since you looked at it." in answer.text
    assert (await requests.states())[0] == "PENDING_APPROVAL"
    requests.browser.post(f"{page}/decision", page, decision="approve", etag=seen["etag"])
    assert (await requests.states())[0] == "ACTIVE"


async def test_nothing_is_decided_without_a_choice_or_a_button(requests: Requests) -> None:
    before = await requests.states()
    assert "tick what the decision is for" in requests.decide("approve").text
    assert requests.decide("", *requests.marks).status == 400
    assert await requests.states() == before


async def test_the_kind_that_is_looked_at_stays(requests: Requests) -> None:
    answer = requests.decide("approve", requests.marks[2], path=f"{_PATH}?kind=access")
    assert answer.location == f"{_PATH}?kind=access"
    assert "One request is approved." in requests.browser.get(answer.location).text


async def test_only_admins_see_and_decide(requests: Requests, system: RunningSystem, people: People) -> None:
    nobody = Browser(system.port("ams-bff"))
    merchant = await sign_in(system, people, str((await requests.merchant.get("/me"))["email"]))
    assert nobody.get(_PATH).location == f"/login?next={_PATH}"
    assert merchant.get(_PATH).status == 403
    before = await requests.states()
    assert merchant.post(_PATH, "/merchant", decision="approve", request=requests.marks[0]).status == 403
    assert await requests.states() == before
