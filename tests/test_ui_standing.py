"""Who was suspended or blocked is told so in that role's area, and goes on when an admin lets them again."""

import asyncio
import secrets
import time
from dataclasses import dataclass

import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import JSON, People, Rest
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import new_service


@dataclass(frozen=True, slots=True)
class Side:
    """One role's area, and how an admin stops who acts in it."""

    area: str
    resource: str
    stop: str
    resume: str
    word: str
    pages: tuple[str, ...]
    form: str

    async def register(self, people: People, admin: Rest, email: str) -> Rest:
        if self.area == "/dashboard":
            return await people.register_consumer(email)
        return await people.register_merchant(admin, email, f"Company of {email}")

    async def decide(self, admin: Rest, verb: str, user_id: str) -> JSON:
        return await admin.post(f"/{self.resource}/{user_id}:{verb}", reason="A test")


MERCHANT = Side(
    "/merchant",
    "merchants",
    "suspend",
    "reinstate",
    "suspended",
    ("/merchant", "/merchant/services", "/merchant/images", "/merchant/services/new"),
    "/merchant/services",
)
CONSUMER = Side(
    "/dashboard",
    "consumers",
    "block",
    "unblock",
    "blocked",
    ("/dashboard", "/dashboard/api-keys", "/dashboard/images", "/dashboard/invoices"),
    "/dashboard/api-keys",
)
both = pytest.mark.parametrize("side", [MERCHANT, CONSUMER], ids=lambda side: side.word)


async def user_id_of(person: Rest) -> str:
    return str((await person.get("/me"))["userId"])


@both
async def test_the_area_tells_what_happened_until_an_admin_opens_it_again(
    side: Side, system: RunningSystem, people: People
) -> None:
    admin, email = await people.sign_in(ADMIN_EMAIL), f"stopped-{secrets.token_hex(4)}@example.com"
    user_id = await user_id_of(await side.register(people, admin, email))
    await side.decide(admin, side.stop, user_id)
    browser = await sign_in(system, people, email)
    assert browser.get("/").location == side.area
    for path in side.pages:
        page = browser.get(path)
        assert page.status == 403, path
        for told in (f"Your account is {side.word}", "since", "mailto:", user_id, "open to you"):
            assert told in page.text, (path, told)
    posted = browser.post(side.form, side.area, name="Anything")
    assert (posted.status, f"Your account is {side.word}" in posted.text) == (403, True)
    assert browser.get("/marketplace").status == 200

    await side.decide(admin, side.resume, user_id)
    for path in side.pages:
        assert browser.get(path).status == 200, path


async def eventually_stopped(browser: Browser, path: str) -> Page:
    """The page once every service has heard of it, which takes a moment and not what is left of a token."""
    deadline_s = time.monotonic() + 2.0
    while (page := browser.get(path)).status != 403:
        assert time.monotonic() < deadline_s, path
        await asyncio.sleep(0.02)
    return page


@both
async def test_who_is_stopped_while_signed_in_is_told_so_at_once(
    side: Side, system: RunningSystem, people: People
) -> None:
    admin, email = await people.sign_in(ADMIN_EMAIL), f"caught-{secrets.token_hex(4)}@example.com"
    user_id = await user_id_of(await side.register(people, admin, email))
    browser = await sign_in(system, people, email)
    assert browser.get(side.area).status == 200
    await side.decide(admin, side.stop, user_id)
    for path in side.pages[:2]:
        page = await eventually_stopped(browser, path)
        assert f"Your account is {side.word}" in page.text, path
    await side.decide(admin, side.resume, user_id)
    assert browser.get(side.area).status == 200


async def test_an_account_with_another_good_role_goes_on_in_that(
    system: RunningSystem, people: People
) -> None:
    admin, email = await people.sign_in(ADMIN_EMAIL), f"two-{secrets.token_hex(4)}@example.com"
    merchant = await MERCHANT.register(people, admin, email)
    await people.register_consumer(email)
    await MERCHANT.decide(admin, "suspend", await user_id_of(merchant))
    browser = await sign_in(system, people, email)
    assert browser.get("/").location == "/dashboard"
    overview = browser.get("/dashboard")
    assert overview.status == 200
    assert 'href="/merchant"' in overview.text
    told = browser.get("/merchant")
    assert (told.status, "Continue as consumer" in told.text) == (403, True)
    assert browser.post("/role", "/merchant", role="3").location == "/dashboard"


async def test_a_role_that_was_never_held_is_not_called_suspended(
    system: RunningSystem, people: People
) -> None:
    email = f"plain-{secrets.token_hex(4)}@example.com"
    await people.register_consumer(email)
    page = (await sign_in(system, people, email)).get("/merchant")
    assert (page.status, "suspended" in page.text) == (403, False)


async def test_a_blocked_consumer_is_not_asked_to_become_one(system: RunningSystem, people: People) -> None:
    admin, email = await people.sign_in(ADMIN_EMAIL), f"still-{secrets.token_hex(4)}@example.com"
    await CONSUMER.decide(admin, "block", await user_id_of(await people.register_consumer(email)))
    merchant = await people.register_merchant(admin, f"m-{email}", f"Open {email}")
    service = await _published(admin, merchant)
    browser = await sign_in(system, people, email)

    async def shown() -> Page | None:
        page = browser.get(f"/marketplace/{service['slug']}")
        return page if page.status == 200 else None

    page = await eventually(shown)
    assert page is not None
    assert "Your account is blocked as a consumer" in page.text
    assert "Become a consumer" not in page.text
    assert Browser(system.port("ams-bff")).get("/dashboard").location == "/login?next=/dashboard"


async def _published(admin: Rest, merchant: Rest) -> JSON:
    async def created() -> JSON:
        answer = await merchant.ask("POST", "/services", new_service("https://api.example.com"))
        return answer.body if answer.status == 201 else {}

    service = await eventually(created)
    await merchant.post(f"/services/{service['serviceId']}:submit")
    return await admin.post(f"/services/{service['serviceId']}:approve")
