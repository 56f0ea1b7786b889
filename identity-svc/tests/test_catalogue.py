"""The catalogue has every message of the contract, and each can be told in all ways."""

import re
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from uuid import uuid4

import pytest
from ams.identity.v1.notifications_pb2 import Notification
from hypothesis import given
from hypothesis import strategies as st
from identity_svc.mails import Composer, Template, unlinked
from identity_svc.notifications.catalogue import CATALOGUE, CATEGORIES, REQUIRED, kinds_of
from identity_svc.notifications.telling import told_of, word
from support.notification_examples import KINDS, VARIANTS, example

HOSTILE = '<b>"Geo" & Sons</b>\r\nBcc: mallory@evil.example https://evil.example/x'
COMPOSER = Composer("AMS <no-reply@ams.example>")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def mail_of(notification: Notification, unsubscribe_link: str = "") -> EmailMessage:
    told = told_of(notification)
    values = {
        **told.values,
        "link": f"https://ams.example{told.path}",
        "choices_link": "https://ams.example/settings/notifications",
        "unsubscribe_link": unsubscribe_link,
    }
    return COMPOSER.compose(uuid4(), told.name, "cora@example.com", values, NOW)


def body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_the_catalogue_has_the_kinds_of_the_contract_and_no_other() -> None:
    assert list(CATALOGUE) == KINDS or sorted(CATALOGUE) == sorted(KINDS)
    assert not set(CATALOGUE) & {template.value for template in Template}


def test_every_category_has_kinds_and_a_mail() -> None:
    for category in CATEGORIES:
        assert any(kind.is_mailed for kind in kinds_of(category).values())
    assert set(CATEGORIES) > REQUIRED


@pytest.mark.parametrize("number", range(VARIANTS))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_subject_both_bodies_and_a_line_in_the_account(kind: str, number: int) -> None:
    notification = example(kind, number=number)
    told, mail = told_of(notification), mail_of(notification)
    title, text = word(told.kind.title, told.values), word(told.kind.text, told.values)
    for said in (title, text):
        assert said == " ".join(said.split()) != ""
        assert "{" not in said
    assert mail["Subject"] == title
    assert text in body(mail, "plain")
    html = body(mail, "html")
    assert f'href="https://ams.example{told.path}"' in html
    assert f"https://ams.example{told.path}" in body(mail, "plain").splitlines()
    assert told.path.startswith("/") and not told.path.startswith("//")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_empty_can_be_told_too(kind: str) -> None:
    notification = Notification(notification_id=str(uuid4()), user_id=str(uuid4()))
    getattr(notification, kind).SetInParent()
    assert mail_of(notification)["Subject"]


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_what_others_have_written_is_neither_markup_nor_a_header_nor_a_link(kind: str, number: int) -> None:
    mail = mail_of(example(kind, HOSTILE, number))
    assert mail["Bcc"] is None
    html = body(mail, "html")
    assert "<b>" not in html
    links = re.findall(r'href="([^"]*)"', html)
    assert links and all(link.startswith("https://ams.example/") for link in links)
    assert not re.search(r"evil\.example(?!%)", html)
    assert not any("evil.example" in line for line in body(mail, "plain").splitlines() if "ams" not in line)


@given(st.text(max_size=60), st.sampled_from(KINDS))
def test_no_text_leads_out_of_the_page_of_its_kind(text: str, kind: str) -> None:
    path = told_of(example(kind, text)).path
    assert re.fullmatch(r"(/[A-Za-z0-9._~%-]*)+", path)
    assert path.count("/") <= 4


@given(st.text(max_size=200))
def test_breaking_links_adds_nothing_that_is_seen(text: str) -> None:
    assert unlinked(text).replace("\u2060", "") == text.replace("\u2060", "")


def test_amounts_and_times_stay_as_they_are() -> None:
    assert unlinked("EUR 0.002, 14:00 UTC. Then 1.5 %") == "EUR 0.002, 14:00 UTC. Then 1.5 %"


def test_only_what_is_for_admins_can_be_told_to_all_of_them() -> None:
    told = []
    for kind in KINDS:
        notification = example(kind)
        notification.user_id = ""
        try:
            told.append((kind, told_of(notification).path.startswith("/admin")))
        except ValueError:
            continue
    assert told == [("access_requested", True), ("listing_submitted", True)]


def test_a_mail_that_can_be_turned_off_says_how_to_mail_programs() -> None:
    link = f"https://ams.example/unsubscribe/{'token' * 40}"
    mail = mail_of(example("report_ready"), link)
    assert mail["List-Unsubscribe"] == f"<{link}>"
    # As it goes over the wire: no mail program reads a link in encoded words.
    assert f"\r\nList-Unsubscribe: <{link}>\r\n".encode() in mail.as_bytes(policy=SMTP)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert f'href="{link}"' in body(mail, "html")
    assert link in body(mail, "plain").splitlines()
    required = mail_of(example("key_exposed"))
    assert required["List-Unsubscribe"] is None


def test_a_mail_of_an_earlier_release_is_still_sent() -> None:
    told = told_of(example("report_ready"))
    mail = COMPOSER.compose(
        uuid4(), told.name, "cora@example.com", {**told.values, "link": "https://ams.example/x"}, NOW
    )
    assert mail["Subject"] == "Your usage report is ready"
    with pytest.raises(ValueError):
        COMPOSER.compose(uuid4(), "of_a_later_release", "cora@example.com", {}, NOW)
