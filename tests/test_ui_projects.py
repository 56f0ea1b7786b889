"""A project from beginning to end, by browsers without scripts: each member as far as their role goes."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlencode

import aiohttp
import pytest
from ams_common.testing.eventually import eventually
from ams_local.rest import People, Rest
from support import signed_in_browser, upstream_api
from support.plain_browser import Browser, Page
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import consume, open_trade, per_request

_LIST = "/dashboard/projects"
_ROLES = ("manager", "member", "viewer")


@dataclass(frozen=True, slots=True)
class Team:
    """A project with a browser for each role, an outsider, and a key that the member has made and used."""

    path: str
    project_id: str
    browsers: dict[str, Browser]
    names: dict[str, str]
    rest: dict[str, Rest]
    key_id: str
    secret: str
    slug: str


def _follow(browser: Browser, page: Page) -> Page:
    """Where an answer leads."""
    assert page.status == 303, unescape(re.sub(r"<[^>]+>", " ", page.text))[:800]
    return browser.get(page.location)


@pytest.fixture(scope="module")
def team(system: RunningSystem) -> Iterator[Team]:
    yield asyncio.run(_found_project(system))


async def _found_project(system: RunningSystem) -> Team:
    tag = secrets.token_hex(4)
    async with aiohttp.ClientSession() as http, upstream_api.serving() as upstream:
        people = system.people(http)
        trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, tag, price=per_request(10_000_000))
        emails = {name: f"{name}-{tag}@example.com" for name in (*_ROLES, "outsider")}
        rest = {name: await people.register_consumer(email, name) for name, email in emails.items()}
        browsers = {
            name: await signed_in_browser.sign_in(system, people, email) for name, email in emails.items()
        }
        browsers["owner"] = await signed_in_browser.sign_in(system, people, f"consumer-{tag}@example.com")
        rest["owner"] = trade.consumer
        made = browsers["owner"].post(_LIST, f"{_LIST}/new", name=f"Maps {tag}", idempotency_key=tag)
        assert _follow(browsers["owner"], made).status == 200
        path = made.location
        for name in _ROLES:
            await _join(browsers, people, path, name, emails[name])
        project_id = path.rpartition("/")[2]
        service_id = trade.service["serviceId"]
        asked = await rest["member"].post_eventually(
            "/access-requests", serviceId=service_id, projectId=project_id
        )
        await trade.admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
        key = await rest["member"].post_eventually(
            "/keys", name="Checkout", serviceIds=[service_id], ttlDays=30, projectId=project_id
        )
        slug = trade.service["slug"]

        async def is_answered() -> bool:
            return (await consume(http, system.gateway_url, key["secret"], slug)).status == 200

        await eventually(is_answered)
        names = {name: (await each.get("/me"))["name"] for name, each in rest.items()}
        return Team(path, project_id, browsers, names, rest, key["key"]["keyId"], key["secret"], slug)


async def _join(browsers: dict[str, Browser], people: People, path: str, name: str, email: str) -> None:
    """Invited on the page, and accepted by the mail's link."""
    sent = browsers["owner"].post(f"{path}/invitations", f"{path}/members", email=email, role=name)
    assert email in _follow(browsers["owner"], sent).text
    code = await people.mail.next_invite(email)
    page = browsers[name].get(f"/invitations?code={code}")
    accept = re.search(r'action="(/invitations/[0-9a-f-]+/accept)"', page.text)
    assert accept, page.text[:500]
    joined = browsers[name].post(accept[1], f"/invitations?code={code}")
    assert _follow(browsers[name], joined).status == 200


def _page(team: Team, who: str, rest: str = "") -> Page:
    return team.browsers[who].get(f"{team.path}{rest}")


@pytest.mark.parametrize("who", ["owner", *_ROLES])
def test_each_member_sees_people_keys_usage_and_spend(team: Team, who: str) -> None:
    async def shows_all() -> bool:
        text = _page(team, who).text
        return "Checkout" in text and "€0.01" in text and team.names["manager"] in text

    asyncio.run(eventually(shows_all))
    assert "/dashboard/api-keys/" + team.key_id in _page(team, who).text
    usage = team.browsers[who].get(f"/dashboard/usage?project={team.project_id}")
    assert usage.status == 200
    spend = team.browsers[who].get(f"/dashboard/spend?project={team.project_id}&group=key")
    assert "Checkout" in spend.text
    key = team.browsers[who].get(f"/dashboard/api-keys/{team.key_id}")
    assert f'href="{team.path}"' in key.text


def test_what_is_offered_follows_the_role(team: Team) -> None:
    offers = {
        ("", "/dashboard/api-keys/new?project="): {"owner", "manager", "member"},
        ("", "/dashboard/alerts/new?project="): {"owner", "manager", "member"},
        ("/members", f'action="{team.path}/invitations"'): {"owner", "manager"},
        ("/settings", f'action="{team.path}/settings"'): {"owner", "manager"},
        ("/settings", f'action="{team.path}/spend-cap"'): {"owner", "manager"},
        ("/settings", f'action="{team.path}/offer"'): {"owner"},
        ("/settings", f'action="{team.path}/close"'): {"owner"},
        ("/settings", f'action="{team.path}/leave"'): set(_ROLES),
    }
    for (rest, shown), expected in offers.items():
        seen = {who for who in ("owner", *_ROLES) if shown in _page(team, who, rest).text}
        assert seen == expected, shown


def test_forms_of_others_are_refused_all_the_same(team: Team) -> None:
    """Whoever sends what their page doesn't offer."""
    viewer = team.browsers["viewer"]
    for path, fields in (
        (f"{team.path}/invitations", {"email": "x@example.com", "role": "viewer"}),
        (f"{team.path}/settings", {"name": "Mine"}),
        (f"{team.path}/spend-cap", {"spend_cap.amount": "1", "spend_cap.currency_code": "EUR"}),
        (f"{team.path}/close", {"confirm": "Maps"}),
        (f"{team.path}/offer", {"user_id": team.project_id}),
    ):
        assert viewer.post(path, _LIST, **fields).status in (400, 403)
    assert "Mine" not in _page(team, "owner").text


def test_a_spend_cap_is_set_shown_to_all_and_removed(team: Team) -> None:
    manager, path = team.browsers["manager"], f"{team.path}/spend-cap"
    cap = {"spend_cap.amount": "lots", "spend_cap.currency_code": "EUR"}
    wrong = manager.post(path, f"{team.path}/settings", **cap)
    assert wrong.status == 400
    assert 'value="lots"' in wrong.text
    done = manager.post(path, f"{team.path}/settings", **cap | {"spend_cap.amount": "99.50"})
    assert "spend cap is set" in _follow(manager, done).text
    for who in ("owner", *_ROLES):
        assert "€99.50</strong> a month" in _page(team, who, "/settings").text
    key = team.browsers["member"].get(f"/dashboard/api-keys/{team.key_id}")
    assert f'href="{team.path}/settings">The cap over the project’s keys' in key.text
    removed = manager.post(path, f"{team.path}/settings", intent="remove")
    assert "spend cap is removed" in _follow(manager, removed).text
    assert "€99.50" not in _page(team, "owner", "/settings").text


@pytest.mark.parametrize("rest", ["", "/members", "/settings"])
def test_nobody_else_learns_of_the_project(team: Team, rest: str) -> None:
    page = _page(team, "outsider", rest)
    assert page.status == 404
    assert "Maps" not in page.text
    signed_out = Browser(team.browsers["owner"].port).get(f"{team.path}{rest}")
    assert "/login" in (signed_out.location or signed_out.text)
    assert team.browsers["outsider"].get(f"/dashboard/spend?project={team.project_id}").status == 404


def test_a_list_names_the_project_and_the_role(team: Team) -> None:
    text = team.browsers["viewer"].get(_LIST).text
    assert team.path in text
    assert "Viewer" in text
    assert team.path not in team.browsers["outsider"].get(_LIST).text


def test_an_alert_of_a_member_is_seen_by_all_and_by_name(team: Team) -> None:
    member = team.browsers["member"]
    fields = {"name": "A busy day", "metric": "REQUEST_COUNT", "period": "ALERT_DAY", "thresholds": "100"}
    made = member.post("/dashboard/alerts", "/dashboard/alerts/new", project_id=team.project_id, **fields)
    assert "Maps" in _follow(member, made).text
    for who in ("owner", *_ROLES):
        assert "A busy day" in _page(team, who).text


def test_the_project_is_handed_over_and_the_member_leaves_with_their_key(
    team: Team, system: RunningSystem
) -> None:
    """The last of this file: nothing is left as it was."""
    owner, manager, member = (team.browsers[who] for who in ("owner", "manager", "member"))
    user_id = asyncio.run(_user_id(system, team, "manager"))
    assert owner.post(f"{team.path}/offer", f"{team.path}/settings", user_id=user_id).status == 303
    assert "offers you this project" in _page(team, "manager").text
    assert "offers you this project" not in _page(team, "member").text
    refused = member.post(f"{team.path}/offer/answer", team.path, intent="accept")
    assert "no such offer" in _follow(member, refused).text
    accepted = manager.post(f"{team.path}/offer/answer", team.path, intent="accept")
    assert "is yours" in _follow(manager, accepted).text
    assert f'action="{team.path}/close"' in _page(team, "manager", "/settings").text
    assert f'action="{team.path}/close"' not in _page(team, "owner", "/settings").text

    left = member.post(f"{team.path}/leave", f"{team.path}/settings")
    assert left.location == _LIST
    assert _page(team, "member").status == 404
    asyncio.run(eventually(lambda: _is_refused(system, team)))

    name = re.search(r"<h1>([^<]+)</h1>", _page(team, "manager").text)
    assert name
    wrong = manager.post(f"{team.path}/close", f"{team.path}/settings", confirm="something else")
    assert wrong.status == 400
    closed = manager.post(f"{team.path}/close", f"{team.path}/settings", confirm=unescape(name[1]))
    assert "is closed" in _follow(manager, closed).text
    assert "/dashboard/api-keys/new?project=" not in _page(team, "manager").text


async def _user_id(system: RunningSystem, team: Team, who: str) -> str:
    async with aiohttp.ClientSession() as http:
        rest = Rest(http, system.rest_url, team.rest[who].token)
        return str((await rest.get("/me"))["userId"])


async def _is_refused(system: RunningSystem, team: Team) -> bool:
    async with aiohttp.ClientSession() as http:
        return (await consume(http, system.gateway_url, team.secret, team.slug)).status == 403


def test_an_unknown_code_says_so_and_offers_to_type_another(team: Team) -> None:
    page = team.browsers["outsider"].get("/invitations?code=7K2M-Q9TD-0XVA-3HJC-PW5E")
    assert page.status == 404
    assert 'name="code"' in page.text
    query = urlencode({"invitation": team.project_id})
    assert team.browsers["outsider"].get(f"/invitations?{query}").status == 404
