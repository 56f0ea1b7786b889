"""A person and a test can read what was mailed."""

import asyncio
import smtplib
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage

import pytest
from aiosmtpd.smtp import SMTP
from ams_local.mail import MAX_MESSAGES, Mailbox, page_app
from ams_local.web import Answer, call

Browser = Callable[..., Answer]


@pytest.fixture
async def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def smtp_port(mailbox: Mailbox) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="localhost"), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def browser(mailbox: Mailbox, serve: Callable[..., str]) -> Browser:
    url = serve(page_app(mailbox))
    return lambda path, **query: call("GET", f"{url}{path}", query=query)


async def send(port: int, to: str, subject: str, text: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ams@example.test", to, subject
    message.set_content(text)

    def deliver() -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.send_message(message)

    await asyncio.to_thread(deliver)


async def test_a_mail_is_listed_by_its_recipient_and_read(smtp_port: int, browser: Browser) -> None:
    await send(smtp_port, "anna@example.test", "Your code", "It is 123456.")
    await send(smtp_port, "bert@example.test", "Grüße", "Schöne Grüße – 你好")
    messages = browser("/messages", to="Anna@example.test").json()["messages"]
    assert [(mail["subject"], mail["text"].strip()) for mail in messages] == [("Your code", "It is 123456.")]
    assert browser("/messages").json()["messages"][0]["text"].strip() == "Schöne Grüße – 你好"
    assert "Your code" in browser("/").text
    assert "It is 123456." in browser(f"/mails/{messages[0]['id']}").text


async def test_markup_in_a_mail_stays_text(smtp_port: int, browser: Browser) -> None:
    await send(smtp_port, "anna@example.test", "<script>alert(1)</script>", "<img src=x onerror=alert(2)>")
    number = browser("/messages").json()["messages"][0]["id"]
    for page in (browser("/"), browser(f"/mails/{number}")):
        assert "<script" not in page.text and "<img" not in page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]


async def test_what_is_for_nobody_is_refused(smtp_port: int, browser: Browser) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
        await send(smtp_port, "anna@refused.example", "Hello", "x")
    assert refusal.value.recipients["anna@refused.example"][0] == 550
    assert browser("/messages").json()["messages"] == []


async def test_only_the_last_mails_are_kept(smtp_port: int, browser: Browser) -> None:
    for number in range(MAX_MESSAGES + 3):
        await send(smtp_port, "anna@example.test", str(number), "x")
    subjects = [mail["subject"] for mail in browser("/messages").json()["messages"]]
    assert subjects == [str(number) for number in reversed(range(3, MAX_MESSAGES + 3))]


def test_an_unknown_mail_is_not_found(browser: Browser) -> None:
    assert browser("/mails/1").status == 404
