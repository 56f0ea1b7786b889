"""Forms under a person's hands: what Enter does, what a second click does, and what leaving loses."""

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import JSON, People, Rest
from playwright.async_api import Browser, Dialog, Page, Route, expect
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import open_window, sign_in
from support.trade import Trade, new_service, open_trade
from support.upstream_api import Upstream

Open = Callable[..., Awaitable[Page]]


@pytest.fixture
async def window(browser: Browser, system: RunningSystem, people: People) -> AsyncIterator[Open]:
    """`window(email, **options)`: a page of somebody signed in."""
    async with AsyncExitStack() as stack:

        async def signed_in(email: str, **options: Any) -> Page:
            context = await open_window(browser, system, people, email, **options)
            stack.push_async_callback(context.close)
            return await context.new_page()

        yield signed_in


@pytest.fixture
async def trade(people: People, upstream: Upstream) -> Trade:
    return await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))


async def email_of(person: Rest) -> str:
    return str((await person.get("/me"))["email"])


async def submitted(trade: Trade) -> JSON:
    """A service that waits for a decision."""
    name = f"Waiting {secrets.token_hex(4)}"
    service = await trade.merchant.post("/services", **new_service("https://api.example.com", name=name))
    return await trade.merchant.post(f"/services/{service['serviceId']}:submit")


@pytest.mark.parametrize("has_scripts", [True, False])
async def test_enter_in_the_reason_decides_nothing(has_scripts: bool, window: Open, trade: Trade) -> None:
    service = await submitted(trade)
    page = await window(ADMIN_EMAIL, java_script_enabled=has_scripts)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    for path in ("/admin", f"/admin/services/{service['serviceId']}"):
        await page.goto(path)
        reason = page.locator(f"#reason-{service['serviceId']}")
        await reason.fill("The documentation is mis")
        await reason.press("Enter")
        await expect(reason).to_have_value("The documentation is mis")
    await page.goto("/marketplace")  # whatever was sent is sent by now
    assert "POST" not in sent
    read = await trade.merchant.get(f"/services/{service['serviceId']}")
    assert read["status"] == "PENDING_APPROVAL"


async def test_a_decision_that_neither_button_sends_is_refused(
    trade: Trade, system: RunningSystem, people: People
) -> None:
    service = await submitted(trade)
    asker = await people.register_consumer(f"asker-{secrets.token_hex(4)}@example.com")
    asked = await asker.post("/access-requests", serviceId=trade.service["serviceId"])
    admin = await sign_in(system, people, ADMIN_EMAIL)
    for path in (
        f"/admin/services/{service['serviceId']}/decision",
        f"/admin/access-requests/{asked['accessRequestId']}/decision",
    ):
        for fields in ({}, {"decision": "APPROVE"}, {"decision": "deny"}):
            answer = admin.post(path, "/admin", reason="Because", **fields)
            assert (answer.status, "Nothing was decided" in answer.text) == (400, True)
    [request] = (await asker.get("/consumer/access-requests"))["accessRequests"]
    assert request["status"] == "PENDING"


async def test_samples_are_copied_as_they_stand_there(window: Open, trade: Trade) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    consumer = await window(await email_of(trade.consumer), permissions=permissions)
    await consumer.goto("/dashboard/api-keys/new")
    await consumer.get_by_label("Name").fill("Copied")
    await consumer.get_by_role("button", name="Create key").click()
    merchant = await window(await email_of(trade.merchant), permissions=permissions)
    await merchant.goto(f"/merchant/services/{trade.service['serviceId']}")
    for page in (consumer, merchant):
        for label in ("curl", "Python", "JavaScript"):
            await page.get_by_text(label, exact=True).first.click()
            shown = await page.locator(f"pre[aria-label={label}]").text_content()
            await page.get_by_role("button", name=f"Copy {label}").click()
            await expect(page.get_by_role("button", name="Copied")).to_be_visible()
            assert await page.evaluate("navigator.clipboard.readText()") == shown
            assert shown and trade.service["slug"] in shown
            await expect(page.get_by_role("button", name="Copied")).to_have_count(0)


async def test_leaving_what_was_typed_or_refused_is_asked_about(window: Open, trade: Trade) -> None:
    page = await window(await email_of(trade.consumer))
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    page.on("dialog", stay)

    async def leaves() -> bool:
        """Whether the link leads away."""
        asked.clear()
        await page.get_by_role("link", name="Usage").first.click()

        async def is_settled() -> bool:
            return bool(asked) or page.url.endswith("/usage")

        await eventually(is_settled)
        return not asked

    form = "/dashboard/api-keys/new"
    await page.goto(form)
    assert await leaves()
    await page.goto(form)
    await page.get_by_label("Name").fill("Half a na")
    assert not await leaves()
    assert asked == ["beforeunload"]
    # Sent, it isn't left; refused, it holds what is stored nowhere.
    await page.get_by_label("Name").fill("")
    await page.get_by_label("Description").fill("Long and laborious")
    await page.get_by_role("button", name="Create key").click()
    await expect(page.get_by_role("alert")).to_contain_text("Name is required")
    assert asked == ["beforeunload"]
    assert not await leaves()
    await expect(page.get_by_label("Description")).to_have_value("Long and laborious")


async def test_a_form_is_sent_once_and_again_when_no_answer_came(window: Open, trade: Trade) -> None:
    page = await window(await email_of(trade.consumer))
    await page.clock.install()
    await page.goto("/dashboard/api-keys/new")
    sent: list[str] = []

    async def never_answered(route: Route) -> None:
        sent.append(str(route.request.post_data))
        await route.abort("aborted")  # as by the browser's stop button: the page stays

    await page.route("**/dashboard/api-keys", never_answered)
    await page.get_by_label("Name").fill("Once")
    await page.get_by_role("button", name="Create key").click()
    await expect(page.locator("form[data-sent]")).to_have_count(1)
    await page.locator("form[data-sent]").evaluate("form => { form.requestSubmit(); form.requestSubmit(); }")
    assert len(sent) == 1
    await page.clock.run_for(10_500)
    await expect(page.locator("form[data-sent]")).to_have_count(0)
    await expect(page.locator("[aria-busy]")).to_have_count(0)
    await expect(page.locator("form[data-guard][data-dirty]")).to_have_count(1)
    await page.unroute("**/dashboard/api-keys")
    await page.get_by_role("button", name="Create key").click()
    await expect(page.get_by_text("works now")).to_be_visible()
    names = [key["name"] for key in (await trade.consumer.get("/keys"))["keys"]]
    assert names.count("Once") == 1


@pytest.mark.parametrize("has_scripts", [True, False])
async def test_a_wrong_name_leaves_the_dialog_open_with_the_error_beside_the_field(
    has_scripts: bool, window: Open, trade: Trade
) -> None:
    page = await window(await email_of(trade.consumer), java_script_enabled=has_scripts)
    await page.goto(f"/dashboard/api-keys/{trade.key['keyId']}")
    await page.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Type").fill("lapdog")
    if has_scripts:  # which don't let it be sent
        await page.evaluate("document.querySelector('#revoke form').submit()")
    else:
        await dialog.get_by_role("button", name="Revoke key").click()
    await expect(dialog.get_by_text("nothing was revoked")).to_be_visible()
    field = dialog.get_by_label("Type")
    await expect(field).to_have_value("lapdog")
    assert await page.evaluate("document.querySelector('#revoke').matches(':modal')") is has_scripts
    await field.fill("laptop")
    await dialog.get_by_role("button", name="Revoke key").click()
    await expect(page.get_by_text("Calls with it are refused, for good.")).to_be_visible()


async def test_stopping_somebody_twice_is_no_fault_and_too_long_a_reason_stands_beside_its_field(
    trade: Trade, system: RunningSystem, people: People
) -> None:
    admin = await sign_in(system, people, ADMIN_EMAIL)
    consumer_id = (await trade.consumer.get("/me"))["userId"]
    for path, stop, resume in (
        (f"/admin/merchants/{trade.service['merchantId']}", "suspend", "reinstate"),
        (f"/admin/consumers/{consumer_id}", "block", "unblock"),
    ):
        refused = admin.post(f"{path}/{stop}", path, reason="x" * 501)
        assert refused.status == 400
        dialog = re.search(rf'<dialog class="dialog" id="{stop}-[^>]* open>.*?</dialog>', refused.text, re.S)
        assert dialog and 'class="field-error"' in dialog[0] and "x" * 501 in dialog[0]
        for verb in (stop, resume):
            for _ in range(2):
                answer = admin.post(f"{path}/{verb}", path)
                assert (answer.status, answer.location) == (303, path)
            assert "toast-plain" in admin.get(path).text


async def test_faults_stay_in_sight_and_good_news_goes(window: Open, trade: Trade) -> None:
    page = await window(await email_of(trade.consumer))
    await page.clock.install()
    await page.goto("/dashboard/api-keys")
    toasts = page.locator(".toasts")
    toast = '<div class="toast toast-{0}" data-toast><span>{0}</span></div>'
    for kind in ("bad", "good"):
        await toasts.evaluate(
            "(place, html) => place.insertAdjacentHTML('beforeend', html)", toast.format(kind)
        )
    await page.evaluate("document.dispatchEvent(new Event('htmx:after:swap'))")
    await page.clock.run_for(30_000)
    await expect(toasts.locator(".toast-good")).to_have_count(0)
    await expect(toasts.locator(".toast-bad")).to_have_count(1)
