"""Two who edit the same thing at once, in browsers without scripts: the second is told, sees what is there by
now beside what was typed, and loses nothing."""

import json
import re
import secrets
from dataclasses import dataclass
from html import unescape

import pytest
from ams_local.rest import People, Rest
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import new_service, open_trade, typed_price

TOLD = "This was changed while you had it open, so nothing is saved yet."


def words(page: Page) -> str:
    """What a person reads of the page."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.text)))


def notice(page: Page) -> str:
    """What the summary of a refused form says."""
    found = re.search(r'<div class="notice notice-bad" role="alert".*?</div></div>', page.text, re.DOTALL)
    assert found, words(page)[:1500]
    return words(Page(page.status, page.headers, found[0]))


@dataclass(frozen=True, slots=True)
class Editor:
    """A form that somebody has opened: what they then send says what they have seen."""

    browser: Browser
    page: str
    action: str
    etag: str

    @classmethod
    def open(cls, browser: Browser, page: str, action: str = "") -> "Editor":
        return cls(browser, page, action or page, browser.get(page).hidden("etag"))

    def send(self, etag: str = "", **typed: str) -> Page:
        return self.browser.post(self.action, self.page, etag=etag or self.etag, **typed)


def assert_clash(refused: Page, *said: str) -> str:
    """The page of a clash, which says that and these; returns the etag that it carries now."""
    assert refused.status == 412
    told = notice(refused)
    assert TOLD in told
    for each in said:
        assert each in told
    return refused.hidden("etag")


@dataclass(frozen=True, slots=True)
class Merchant:
    browser: Browser
    rest: Rest
    admin: Rest
    tag: str


@pytest.fixture
async def merchant(system: RunningSystem, people: People) -> Merchant:
    tag = secrets.token_hex(4)
    admin = await people.sign_in(ADMIN_EMAIL)
    email = f"shop-{tag}@example.com"
    rest = await people.register_merchant(admin, email, f"Maps {tag}")
    return Merchant(await sign_in(system, people, email), rest, admin, tag)


def typed_service(**changes: str) -> dict[str, str]:
    return {
        "name": "Geo",
        "description": "Where is it?",
        "version": "1.0.0",
        "tags": "maps, geo",
        "base_url": "https://api.maps.example/v1",
        **typed_price("0,0035", "CHF"),
        "rate_limit_per_minute": "60",
    } | changes


async def test_two_who_edit_a_service_do_not_undo_each_other(merchant: Merchant) -> None:
    made = await merchant.rest.post_eventually("/services", **new_service("https://api.maps.example/v1"))
    path, rest_path = f"/merchant/services/{made['serviceId']}", f"/services/{made['serviceId']}"
    editor = Editor.open(merchant.browser, f"{path}/edit")
    mask = "description,visibility,tags"
    theirs = {"description": "Roads\nand <rails>", "visibility": "PRIVATE", "tags": ["maps", "geo"]}
    await merchant.rest.patch(rest_path, updateMask=mask, **theirs)
    typed = typed_service(description="Only mine", visibility="1")
    refused = editor.send(**typed)
    etag = assert_clash(
        refused,
        "Description is now Roads and <rails>",
        "Who sees it? is now Who is invited",
        "Currency is now",
    )
    # The name, too, is another than was stored, and tags are as they are there.
    assert "Tags is now" not in notice(refused)
    assert ">\nOnly mine</textarea>" in refused.text and "Roads\nand &lt;rails&gt;" in refused.text
    assert (await merchant.rest.get(rest_path))["description"] == theirs["description"]
    # Another change in between is told again; then it is as was typed.
    await merchant.rest.patch(rest_path, updateMask="version", version="3.0.0")
    etag = assert_clash(editor.send(etag, **typed), "Version is now 3.0.0")
    assert editor.send(etag, **typed).location == path
    after = await merchant.rest.get(rest_path)
    assert (after["description"], after["version"], after["visibility"]) == ("Only mine", "1.0.0", "PUBLIC")


async def test_what_was_typed_for_a_service_that_was_submitted_meanwhile_is_still_there(
    merchant: Merchant,
) -> None:
    made = await merchant.rest.post_eventually("/services", **new_service("https://api.maps.example/v1"))
    path = f"/merchant/services/{made['serviceId']}"
    editor = Editor.open(merchant.browser, f"{path}/edit")
    other = Editor(merchant.browser, path, editor.action, editor.etag)  # its editor isn't opened any more
    await merchant.rest.post(f"/services/{made['serviceId']}:submit")
    refused = other.send(**typed_service(name="Geo anew", description="Only mine"))
    assert refused.status == 409
    assert "can't be changed while it waits for approval" in notice(refused)
    assert "Only mine</textarea>" in refused.text and 'value="Geo anew"' in refused.text


async def test_an_announced_price_is_not_replaced_unseen(merchant: Merchant) -> None:
    made = await merchant.rest.post_eventually("/services", **new_service("https://api.maps.example/v1"))
    rest_path = f"/services/{made['serviceId']}"
    await merchant.rest.post(f"{rest_path}:submit")
    await merchant.admin.post(f"{rest_path}:approve")
    page = f"/merchant/services/{made['serviceId']}/prices"
    editor = Editor.open(merchant.browser, page)
    day = re.search(r'name="starts_on" type="date" value="([^"]+)"', merchant.browser.get(page).text)
    assert day
    announced = await merchant.rest.post(f"{rest_path}/prices", price=made["price"], startsOn=day[1])
    typed = {**typed_price("0.5", "EUR"), "starts_on": day[1]}
    etag = assert_clash(editor.send(**typed))
    listed = (await merchant.rest.get(f"{rest_path}/prices"))["prices"]
    assert listed[0] == announced
    assert editor.send(etag, **typed).location == page


async def test_a_document_is_neither_replaced_nor_removed_unseen(merchant: Merchant) -> None:
    made = await merchant.rest.post_eventually("/services", **new_service("https://api.maps.example/v1"))
    rest_path = f"/services/{made['serviceId']}"
    page = f"/merchant/services/{made['serviceId']}/openapi"
    browser, rest = merchant.browser, merchant.rest
    # The same at first sight: their titles, versions and numbers of operations.
    first, theirs, mine = (document(word) for word in ("Rivers", "Lakes", "Seas"))
    unseen = Editor.open(browser, page)
    assert "openapiDocument" not in await rest.get(rest_path)
    await rest.post(f"{rest_path}/openapi-document", content=first)
    refused = browser.upload(page, page, mine.encode(), etag=unseen.etag)
    assert_clash(refused)
    assert "Rivers" in words(refused)
    old = Editor.open(browser, page, f"{page}/delete")
    assert browser.get(page).text.count(f'name="etag" value="{old.etag}"') == 2  # in either form
    assert (await rest.get(f"{rest_path}/openapi-document"))["content"] == first
    await rest.post(f"{rest_path}/openapi-document", content=theirs)
    refused = browser.upload(page, page, mine.encode(), etag=old.etag)
    etag = assert_clash(refused)
    assert "Lakes" in words(refused)
    assert_clash(old.send())
    assert (await rest.get(f"{rest_path}/openapi-document"))["content"] == theirs
    assert browser.upload(page, page, mine.encode(), etag=etag).location == page
    assert (await rest.get(f"{rest_path}/openapi-document"))["content"] == mine
    assert Editor.open(browser, page, f"{page}/delete").send().location == page
    assert "openapiDocument" not in await rest.get(rest_path)


def document(summary: str) -> str:
    """An OpenAPI document with one operation, called so."""
    get = {"summary": summary, "responses": {"200": {"description": "Found"}}}
    return json.dumps(
        {"openapi": "3.1.0", "info": {"title": "Maps", "version": "1"}, "paths": {"/a": {"get": get}}}
    )


async def test_two_admins_who_change_the_settings_do_not_undo_each_other(
    system: RunningSystem, people: People
) -> None:
    admin, path = await people.sign_in(ADMIN_EMAIL), "/platform-settings"
    editor = Editor.open(await sign_in(system, people, ADMIN_EMAIL), "/admin/settings")
    before = await admin.get(path)
    names = {
        "max_active_keys": "maxActiveKeys",
        "max_services": "maxServices",
        "usage_retention_days": "usageRetentionDays",
        "audit_retention_days": "auditRetentionDays",
    }
    typed = {name: str(before[json_name]) for name, json_name in names.items()}
    typed |= {"is_registration_open": "open", "allowed_mail_domains": "", "reason": "Because"}
    try:
        await admin.patch(path, updateMask="maxServices", maxServices=before["maxServices"] + 1)
        changed = {**typed, "max_active_keys": str(before["maxActiveKeys"] + 1)}
        etag = assert_clash(
            editor.send(**changed),
            f"Services of a merchant is now {before['maxServices'] + 1}",
            f"Active keys of a consumer is now {before['maxActiveKeys']}",
        )
        assert (await admin.get(path))["maxActiveKeys"] == before["maxActiveKeys"]
        assert editor.send(etag, **changed).status == 303
        after = await admin.get(path)
        assert (after["maxServices"], after["maxActiveKeys"]) == (
            before["maxServices"],
            before["maxActiveKeys"] + 1,
        )
    finally:
        mask = "maxServices,maxActiveKeys"
        values = {name: before[name] for name in ("maxServices", "maxActiveKeys")}
        await admin.patch(path, updateMask=mask, **values)


async def test_two_who_change_a_key_do_not_undo_each_other(system: RunningSystem, people: People) -> None:
    tag = secrets.token_hex(4)
    trade = await open_trade(people, ADMIN_EMAIL, "https://api.example.com", tag)
    browser = await sign_in(system, people, f"consumer-{tag}@example.com")
    key_id = trade.key["keyId"]
    path, rest_path = f"/dashboard/api-keys/{key_id}", f"/keys/{key_id}"
    service_id = trade.service["serviceId"]
    settings = f"{path}/settings"
    name, networks, calls = (
        Editor.open(browser, settings, f"{settings}/{part}")
        for part in ("name", "networks", f"calls/{service_id}")
    )
    cap = Editor.open(browser, path, f"{path}/spend-cap")
    await trade.consumer.patch(rest_path, name="Theirs", description="Used by the shop")
    etag = assert_clash(
        name.send(name="Mine", description=""), "Name is now Theirs", "Description is now Used by the shop"
    )
    assert_clash(networks.send(allowed_networks="192.0.2.0/24"), "Allowed networks is now empty")
    assert_clash(calls.send(allowed_calls="GET /v1/*"), "A call is now empty")
    assert_clash(cap.send(**{"spend_cap.amount": "5", "spend_cap.currency_code": "EUR"}))
    key = await trade.consumer.get(rest_path)
    assert (key["name"], key["allowedNetworks"], key["serviceTerms"], "spendCap" in key) == (
        *("Theirs", [], []),
        False,
    )
    assert name.send(etag, name="Mine", description="").status == 303
    assert (await trade.consumer.get(rest_path))["name"] == "Mine"


async def test_two_who_change_a_project_do_not_undo_each_other(system: RunningSystem, people: People) -> None:
    email = f"owner-{secrets.token_hex(4)}@example.com"
    owner = await people.register_consumer(email, "Olga")
    browser = await sign_in(system, people, email)
    project = await owner.post("/projects", name="Maps", description="For the app")
    editor = Editor.open(browser, f"/dashboard/projects/{project['projectId']}/settings")
    rest_path = f"/projects/{project['projectId']}"
    await owner.patch(rest_path, name="Tiles", description="For the app")
    etag = assert_clash(editor.send(name="Roads", description="For the app"), "Name is now Tiles")
    assert (await owner.get(rest_path))["name"] == "Tiles"
    assert editor.send(etag, name="Roads", description="For the app").status == 303
    assert (await owner.get(rest_path))["name"] == "Roads"


async def test_two_who_change_a_public_profile_do_not_undo_each_other(merchant: Merchant) -> None:
    editor = Editor.open(merchant.browser, "/merchant/profile")
    links = [{"label": "Home", "url": "https://maps.example"}]
    await merchant.rest.patch("/merchant/profile", updateMask="about,links", about="Maps", links=links)
    typed = {"about": "Roads", "links.0.label": "Docs", "links.0.url": "https://docs.example"}
    etag = assert_clash(
        editor.send(**typed),
        "Text is now Maps",
        "Label 1 is now Home",
        "Address 1 is now https://maps.example",
    )
    assert editor.send(etag, **typed).status == 303
    assert (await merchant.rest.get("/merchant/profile"))["about"] == "Roads"


async def test_two_who_limit_a_consumer_do_not_undo_each_other(system: RunningSystem, people: People) -> None:
    tag = secrets.token_hex(4)
    trade = await open_trade(people, ADMIN_EMAIL, "https://api.example.com", tag)
    services = f"/merchant/services/{trade.service['serviceId']}/consumers"
    [sold] = (await trade.merchant.get(services))["consumers"]
    page = f"/merchant/consumers/{sold['consumer']}/services/{trade.service['serviceId']}"
    browser = await sign_in(system, people, f"merchant-{tag}@example.com")
    editor = Editor.open(browser, page, f"{page}/limits")
    await trade.merchant.post(f"{services}/{sold['consumer']}:setLimits", limits={"perMinute": 60})
    typed = {"per_minute": "", "per_day": "1000", "per_month": ""}
    etag = assert_clash(editor.send(**typed), "Calls a minute is now 60", "Calls a day is now empty")
    assert editor.send(etag, **typed).location == page
    [after] = (await trade.merchant.get(services))["consumers"]
    assert after["limits"] == {"perMinute": 0, "perDay": "1000", "perMonth": "0"}
