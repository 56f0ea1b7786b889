"""Admins decide about the dead letters of every service, on the page and by REST; the real processes keep
them."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from ams_bff.views.dead_letters import KEEPERS
from ams_common import topics
from ams_common.ids import uuid7
from ams_common.processes import GRPC_SERVERS
from support.plain_browser import Browser

ADMIN_EMAIL = "admin@ams.example"
PAGE = "/admin/dead-letters"
# Nobody can read it.
UNREADABLE = b"\xff\xff\xff"
# A topic that it reads; all services but the one that writes it read identity.events.
TOPICS = dict.fromkeys(GRPC_SERVERS, topics.IDENTITY_EVENTS) | {"identity": topics.AUDIT_EVENTS}


@pytest.fixture(scope="module")
def admin(browsers: Any) -> Browser:
    return browsers.sign_in(ADMIN_EMAIL)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def member(browsers: Any) -> Browser:
    return browsers.register()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def token(all_services: Any) -> str:
    """An admin's."""
    challenge = all_services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL})
    return str(all_services.sign_in(challenge, ADMIN_EMAIL))


@pytest.fixture(scope="module")
def letters(all_services: Any, token: str) -> Mapping[str, Any]:
    """By service, as REST has it: what it keeps of a message that it was just sent."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=all_services.kafka_bootstrap) as producer:
            for topic in set(TOPICS.values()):
                await producer.send_and_wait(all_services.topic_prefix + topic, UNREADABLE, key=b"one")

    def newest(keeper: str) -> Any:
        answer = all_services.bff.ask("GET", f"/api/v1{PAGE}/{keeper}", token=token)
        assert answer.status == 200, answer.text
        return next(iter(answer.json["deadLetters"]), None)

    asyncio.run(send())
    return {keeper: all_services.wait_until(lambda keeper=keeper: newest(keeper)) for keeper in GRPC_SERVERS}


def counts(text: str) -> Mapping[str, str]:
    """What the page says of how many wait, by the label of the service."""
    shown = re.search(r'<nav class="segments" aria-label="Service">(.*?)</nav>', text, re.DOTALL)
    assert shown, text[:500]
    return dict(re.findall(r">(\w+)&nbsp;<span[^>]*>(\d+)</span></a>", shown[1]))


def test_every_service_that_reads_kafka_is_on_the_page() -> None:
    assert KEEPERS.keys() == GRPC_SERVERS.keys()


@pytest.mark.parametrize("keeper", KEEPERS)
def test_the_page_and_its_file_show_what_a_service_keeps_and_how_many_wait_in_each(
    all_services: Any, admin: Browser, letters: Mapping[str, Any], keeper: str
) -> None:
    letter = letters[keeper]
    assert letter["topic"] == all_services.topic_prefix + TOPICS[keeper]
    assert (letter["status"], letter["content"]) == ("WAITING", "")
    page = admin.get(f"{PAGE}?of={keeper}").text
    assert f"/{keeper}/{letter['deadLetterId']}/replay" in page
    assert counts(page) == dict.fromkeys((each.label for each in KEEPERS.values()), "1")
    head, *rows = admin.get(f"{PAGE}/table.csv?of={keeper}").text.splitlines()
    assert head.startswith("dead_letter_id,topic,")
    assert [row.partition(",")[0] for row in rows] == [letter["deadLetterId"]]


def test_what_is_chosen_wrongly_shows_the_first(admin: Browser, letters: Mapping[str, Any]) -> None:
    page = admin.get(f"{PAGE}?of=nobody&status=nothing")
    assert page.status == 200
    assert letters["usage"]["deadLetterId"] in page.text


@pytest.mark.parametrize("keeper", KEEPERS)
def test_only_admins_see_and_decide(
    all_services: Any, member: Browser, token: str, letters: Mapping[str, Any], keeper: str
) -> None:
    path = f"{PAGE}/{keeper}/{letters[keeper]['deadLetterId']}"
    assert member.get(f"{PAGE}?of={keeper}").status == 403
    for step in ("replay", "dismiss"):
        assert member.post(f"{path}/{step}", "/dashboard", reason="mine").status == 403
    for method, way in (("GET", f"{PAGE}/{keeper}"), ("POST", f"{path}:replay"), ("POST", f"{path}:dismiss")):
        body = {"reason": "mine"} if way.endswith("dismiss") else None
        assert all_services.bff.ask(method, f"/api/v1{way}", body).status == 401


def test_there_are_no_letters_of_another_keeper(
    all_services: Any, admin: Browser, token: str, letters: Mapping[str, Any]
) -> None:
    some = letters["usage"]["deadLetterId"]
    for keeper in ("nobody", "gateway", "USAGE", "usage-svc"):
        for method, path in (("GET", keeper), ("POST", f"{keeper}/{some}:replay")):
            answer = all_services.bff.ask(method, f"/api/v1{PAGE}/{path}", token=token)
            assert (answer.status, answer.code) == (404, "route_not_found"), path
        assert admin.post(f"{PAGE}/{keeper}/{some}/replay", PAGE).status == 404
    answer = all_services.bff.ask("POST", f"/api/v1{PAGE}/billing/{some}:replay", token=token)
    assert (answer.status, answer.code) == (404, "dead_letter_not_found")


@pytest.mark.parametrize("keeper", KEEPERS)
def test_a_letter_is_tried_in_vain_dismissed_with_a_reason_and_then_decided(
    all_services: Any, admin: Browser, token: str, letters: Mapping[str, Any], keeper: str
) -> None:
    letter_id = letters[keeper]["deadLetterId"]
    here, path = f"{PAGE}?of={keeper}", f"{PAGE}/{keeper}/{letter_id}"
    assert admin.post(f"{path}/replay", here).location == here
    assert "The message still can&#39;t be applied" in admin.get(here).text
    assert admin.post(f"{path}/dismiss", here).location == here
    assert "Nothing was dismissed. Reason is required" in admin.get(here).text
    reason = f"sent by a test of {keeper}"
    assert admin.post(f"{path}/dismiss", here, reason=reason).location == here
    assert "The message is dismissed." in admin.get(here).text
    assert "Nothing waits" in admin.get(here).text
    assert reason in admin.get(f"{here}&status=dismissed").text
    assert counts(admin.get(here).text)[KEEPERS[keeper].label] == "0"
    for step in ("replay", "dismiss"):
        assert admin.post(f"{path}/{step}", here, reason="again").location == here
        assert "Somebody has decided about it already." in admin.get(here).text

    def audited() -> Any:
        found = all_services.bff.ask("GET", f"/api/v1/audit-records?resourceId={letter_id}", token=token)
        assert found.status == 200, found.text
        return found.json["auditRecords"]

    [record] = all_services.wait_until(audited)
    assert (record["action"], record["details"]["keeper"]) == ("dead_letter.dismiss", keeper)
    assert record["details"]["reason"] == reason
    assert admin.get("/admin/governance?resource=dead_letter").text.count(reason) >= 1


def test_nothing_was_decided_in_some_way_is_said(admin: Browser) -> None:
    page = admin.get(f"{PAGE}?of=billing&status=replayed")
    assert (page.status, ">None<" in page.text) == (200, True)
    missing = f"{PAGE}/usage/{uuid7()}/replay"
    assert admin.post(missing, PAGE).status == 303
    assert "Somebody has decided about it already." in admin.get(PAGE).text
