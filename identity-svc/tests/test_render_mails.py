"""Every mail as it reaches people, in a real browser: readable on a phone and on a desk, light and dark,
without images, and where a mail program drops its styles. SCREENSHOTS=folder keeps the pictures."""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import PROJECT_MEMBER
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT
from identity_svc.event_handlers import NotificationHandler
from identity_svc.mailer import Mailer, SmtpServer
from identity_svc.mails import Composer
from identity_svc.notifications.catalogue import CATALOGUE
from identity_svc.notifications.telling import told_of, word
from playwright.sync_api import Page, Route, sync_playwright
from support import chromium
from support.notification_examples import KINDS, VARIANTS, example
from support.page_checks import accessibility_faults, contrast_faults, layout_faults

PUBLIC_URL = "https://ams.example"
# A name without a space that is wider than any mail.
LONG = "Straßenverkehrsdatenverarbeitungsschnittstelle" * 3
# What lists of mails show beside the subject: the first thing of the body, which is hidden in the mail.
_PREHEADER = re.compile(r"<body[^>]*>\s*<div style=\"display:none[^>]*>(.*?)</div>", re.DOTALL)
# What the mail says below its title, text by text, as it is seen.
_SAID = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const said = [];
  for (let text = texts.nextNode(); text; text = texts.nextNode())
    if (text.parentElement.closest("[role=main], [role=contentinfo]") && !text.parentElement.closest("h1"))
      said.push(text.data.replace(/\\s+/g, " ").trim());
  return said.filter((text) => /\\w/.test(text));
}"""
_LINKS = "() => [...document.querySelectorAll('a')].map((link) => link.getAttribute('href'))"
_BUTTONS = "() => document.querySelectorAll('a.button').length"


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """A mail as it was received."""

    name: str
    subject: str
    text: str
    html: str

    @classmethod
    def of(cls, name: str, message: EmailMessage) -> "RenderedMail":
        plain, html = message.get_body(("plain",)), message.get_body(("html",))
        assert plain is not None and html is not None
        return cls(name, str(message["Subject"]), plain.get_content(), html.get_content())


Send = Callable[[], Any]


@pytest.fixture
def receive(servicer: Any, database_url: str, clock: Any, smtp: Any) -> Send:
    """`await receive()`: the queued mails, sent and received since the last time."""
    server = SmtpServer("127.0.0.1", smtp.port, "", "", "opportunistic")
    composer = Composer("AMS <no-reply@ams.example>")
    mailer = Mailer(database_url, servicer.database, servicer.vault, composer, server, clock)

    async def receive_all() -> list[EmailMessage]:
        while await mailer.send_batch():
            pass
        received = [message for _, _, message in smtp.taken]
        smtp.taken.clear()
        return received

    return receive_all


@pytest.fixture
async def mails(identity: Any, projects: Any, clock: Any, receive: Send) -> Sequence[RenderedMail]:
    """Of each template of our own, and of each kind in all its wordings, the same wording once."""
    cora = await projects.person("Cora")
    [registering] = await receive()
    await identity.stub.StartSignIn(pb.StartSignInRequest(email=cora.email))
    [signing_in] = await receive()
    invites = []
    for role, email in ((MERCHANT, "mia@example.com"), (ADMIN, "ines@example.com")):
        asked = pb.CreateInviteRequest(email=email, role=role)
        await identity.stub.CreateInvite(asked, metadata=identity.admin)
        invites += await receive()
    [merchant, admin] = invites
    project = await projects.create(cora, "Checkout")
    await projects.invite(project.project_id, cora, "noor@example.com", PROJECT_MEMBER)
    [member] = await receive()
    own = {
        "code-registering": registering,
        "code": signing_in,
        "invite": merchant,
        "admin-invite": admin,
        "project-invite": member,
    }
    rendered = [RenderedMail.of(name, message) for name, message in own.items()]
    handler = NotificationHandler(identity.servicer.mail_queue, clock)
    for kind in (kind for kind in KINDS if CATALOGUE[kind].is_mailed):
        seen: set[tuple[str, ...]] = set()
        for name, text, number in [
            *((f"{kind}-{number}", "", number) for number in range(VARIANTS)),
            (f"{kind}-long", LONG, 0),
        ]:
            notification = example(kind, text, number)
            told = told_of(notification)
            wordings = told.kind.title, told.kind.text, *told.kind.details
            said = tuple(word(wording, told.values) for wording in wordings)
            if said in seen:
                continue
            seen.add(said)
            notification.user_id = cora.user_id
            async with identity.servicer.database.change_by_system("consume", audited=False) as change:
                await handler(change, [notification])
            [message] = await receive()
            rendered.append(RenderedMail.of(name, message))
    return rendered


def look_at(mails: Iterable[RenderedMail]) -> dict[str, list[str]]:
    """What is wrong with each mail, by its name and how it was looked at."""
    faults: dict[str, list[str]] = {}
    with open_window() as (page, asked):
        for mail in mails:
            page.set_content(mail.html)
            # The phone last: axe-core looks at that.
            for width_px in (600, 320):
                page.set_viewport_size({"width": width_px, "height": 700})
                faults[f"{mail.name} {width_px}"] = layout_faults(page)
                keep_picture(page, f"{mail.name}-{width_px}-light")
            faults[f"{mail.name} axe"] = accessibility_faults(page)
            page.emulate_media(color_scheme="dark")
            faults[f"{mail.name} dark"] = contrast_faults(page)
            keep_picture(page, f"{mail.name}-320-dark")
            page.emulate_media(color_scheme="light")
            page.evaluate("() => document.querySelector('style').remove()")
            faults[f"{mail.name} without styles"] = layout_faults(page) + contrast_faults(page)
        faults["asks for"] = asked
    return {where: found for where, found in faults.items() if found}


def read(mails: Iterable[RenderedMail]) -> dict[str, tuple[list[str], list[str], int]]:
    """By the mail's name: its texts, its links, and how many buttons it has."""
    found = {}
    with open_window() as (page, _):
        for mail in mails:
            page.set_content(mail.html)
            found[mail.name] = page.evaluate(_SAID), page.evaluate(_LINKS), page.evaluate(_BUTTONS)
    return found


@contextmanager
def open_window() -> Iterator[tuple[Page, list[str]]]:
    """A window that loads nothing, and what it was asked to load."""
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        page = browser.new_page(color_scheme="light")
        page.route("**/*", refuse)
        yield page, asked
        browser.close()


def keep_picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def test_each_mail_can_be_read_everywhere(mails: Sequence[RenderedMail]) -> None:
    mailed = {kind for kind in KINDS if CATALOGUE[kind].is_mailed}
    assert {mail.name.rpartition("-")[0] for mail in mails} >= mailed
    assert await asyncio.to_thread(look_at, mails) == {}


async def test_both_parts_of_a_mail_say_the_same_and_so_does_its_line_in_a_list(
    mails: Sequence[RenderedMail],
) -> None:
    found = await asyncio.to_thread(read, mails)
    for mail in mails:
        texts, links, buttons = found[mail.name]
        plain = " ".join(mail.text.split())
        assert [text for text in texts if text not in plain] == [], mail.name
        assert all(link.startswith(f"{PUBLIC_URL}/") for link in links), mail.name
        assert re.findall(r"https?://\S+", mail.text) == links, mail.name
        is_code = mail.name.startswith("code")
        assert buttons == (0 if is_code else 1), mail.name
        assert len(texts) > 2, mail.name
        preheader = html_text(_PREHEADER.search(mail.html))
        assert len(preheader) > 15, mail.name
        # A locked phone shows that line to whoever passes by.
        assert not (is_code and re.search(r"\d{6}", preheader)), mail.name


def html_text(found: re.Match[str] | None) -> str:
    assert found is not None
    return unescape(found[1]).strip("\u034f\u200c\u00a0\r\n ")
