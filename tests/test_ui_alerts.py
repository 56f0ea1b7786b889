"""Alerts on keys, each in the words of its reader: through REST, on pages, and nobody else's."""

import re
import secrets
from dataclasses import dataclass
from html import unescape

import aiohttp
import pytest
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from ams_local.rest import JSON, People, Rest
from support.plain_browser import Browser
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import Trade, consume, open_trade
from support.upstream_api import Upstream

_COUNT = {"metric": "REQUEST_COUNT", "period": "ALERT_DAY"}


@dataclass(frozen=True, slots=True)
class UsedKey:
    """A key that has called its service, and what the merchant calls it."""

    trade: Trade
    form: str
    merchant: Browser
    admin: Browser

    @property
    def key_id(self) -> str:
        return str(self.trade.key["keyId"])


@pytest.fixture
async def used(
    system: RunningSystem, people: People, upstream: Upstream, http: aiohttp.ClientSession
) -> UsedKey:
    tag = secrets.token_hex(4)
    trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, tag)

    async def has_called() -> bool:
        return (await consume(http, system.gateway_url, trade.secret, trade.service["slug"])).status == 200

    await eventually(has_called)

    async def form_of_key() -> str:
        groups = (await trade.merchant.get("/merchant/usage", groupBy="KEY")).get("groups")
        return str(groups[0]["group"]) if groups else ""

    return UsedKey(
        trade,
        await eventually(form_of_key),
        await sign_in(system, people, f"merchant-{tag}@example.com"),
        await sign_in(system, people, ADMIN_EMAIL),
    )


async def fired(rest: Rest, rule: JSON) -> JSON:
    """The alert of the rule, as soon as there is one."""

    async def alert() -> JSON:
        listed = (await rest.get("/alerts", role=rule["role"])).get("alerts", [])
        return next((each for each in listed if each["alertRuleId"] == rule["alertRuleId"]), {})

    return await eventually(alert, timeout_s=40)


async def test_a_key_is_watched_through_rest_by_each_in_its_own_words(used: UsedKey, people: People) -> None:
    trade = used.trade
    mine = (
        (trade.merchant, {"key": used.form}),
        (trade.admin, {"apiKeyId": used.key_id, "merchantId": trade.service["merchantId"]}),
        (trade.consumer, {"apiKeyId": used.key_id}),
    )
    rules = []
    for rest, scope in mine:
        made = await rest.post("/alert-rules", name="Used", thresholds=["1"], **_COUNT, **scope)
        rules.append(made["alertRule"])
        assert {name: rules[-1][name] for name in scope} == scope
    for (rest, _), rule in zip(mine, rules, strict=True):
        assert (await fired(rest, rule))["value"] == "1"
    listed = await trade.merchant.ask("GET", "/alert-rules")
    assert used.form in listed.text
    assert used.key_id not in listed.text
    stranger = await people.register_merchant(trade.admin, f"{uuid7().hex}@example.com", "Strangers")
    body = {"name": "Theirs", "thresholds": ["1"], **_COUNT}
    refusals = (
        (stranger, {"key": used.form}, 404, "key_not_found"),
        (trade.merchant, {"apiKeyId": used.key_id}, 400, "filter_not_offered"),
        (trade.consumer, {"key": used.form}, 400, "filter_not_offered"),
        (trade.consumer, {"merchantId": trade.service["merchantId"]}, 400, "filter_not_offered"),
        (trade.admin, {"merchantId": "everybody"}, 400, "invalid_argument"),
    )
    for rest, scope, status, code in refusals:
        answer = await rest.ask("POST", "/alert-rules", body | scope)
        assert (answer.status, answer.body["code"]) == (status, code), scope


async def test_pages_offer_what_their_reader_may_watch(used: UsedKey) -> None:
    rule = {"name": "A busy key", "thresholds": "1", "sends_mail": "true", **_COUNT}
    merchant, admin = used.merchant, used.admin
    linked = re.search(
        r'href="(/merchant/alerts/new[^"]*)"', merchant.get(f"/merchant/usage?key={used.form}").text
    )
    assert linked
    assert f'name="key" type="text" value="{used.form}"' in merchant.get(unescape(linked[1])).text
    made = merchant.post("/merchant/alerts", "/merchant/alerts/new", key=used.form, **rule)
    assert (made.status, made.location) == (303, "/merchant/alerts"), made.text
    page = merchant.get("/merchant/alerts").text
    assert used.form in page
    assert used.key_id not in page
    refused = merchant.post("/merchant/alerts", "/merchant/alerts/new", key="key_of_nobody", **rule)
    assert refused.status == 400
    assert "is called like none that has called your services" in refused.text
    assert 'value="key_of_nobody"' in refused.text  # nothing typed is lost
    scope = {"merchant_id": str(used.trade.service["merchantId"]), "api_key_id": used.key_id}
    made = admin.post("/admin/alerts", "/admin/alerts/new", **scope, **rule)
    assert (made.status, made.location) == (303, "/admin/alerts"), made.text
    assert f"Key …{used.key_id[-6:]}" in admin.get("/admin/alerts").text
    refused = admin.post("/admin/alerts", "/admin/alerts/new", project_id="mine", **rule)
    assert refused.status == 400
    assert "Project" in refused.text
