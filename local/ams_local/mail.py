"""The mail catcher: an SMTP server whose messages a person reads in the browser and a test as JSON."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import escape
from itertools import count

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

# What is for this domain is refused for good, as by a server that has no such mailbox.
REFUSED_DOMAIN = "refused.example"
MAX_MESSAGES = 200
MAX_MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Mail:
    number: int
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.number,
            "receivedAt": self.received_at.isoformat(),
            "from": self.sender,
            "to": list(self.recipients),
            "subject": self.subject,
            "text": self.text,
        }


class Mailbox:
    """The last messages, the newest first; the handler that aiosmtpd calls."""

    def __init__(self) -> None:
        self._mails: deque[Mail] = deque(maxlen=MAX_MESSAGES)
        self._numbers = count(1)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.endswith(f"@{REFUSED_DOMAIN}"):
            return f"550 5.1.1 {address}: nobody here is called so"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        message = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
        mail = Mail(
            number=next(self._numbers),
            received_at=datetime.now(UTC),
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            subject=str(message["subject"] or ""),
            text=_text(message),
        )
        self._mails.appendleft(mail)
        return "250 kept"

    def find(self, number: int) -> Mail | None:
        return next((mail for mail in self._mails if mail.number == number), None)

    def to(self, address: str | None) -> Iterator[Mail]:
        """The messages to the address, all of them without one."""
        wanted = address.lower() if address else None
        for mail in self._mails:
            if wanted is None or wanted in (recipient.lower() for recipient in mail.recipients):
                yield mail


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain", "html"))
    try:
        return str(body.get_content()) if body else ""
    except (LookupError, UnicodeError):
        return "(a text in an unknown encoding)"


def page_app(mailbox: Mailbox) -> Starlette:
    """`/` lists, `/mails/{id}` shows one, `/messages?to=…` answers JSON."""

    async def index(request: Request) -> Response:
        rows = "".join(_row(mail) for mail in mailbox.to(request.query_params.get("to")))
        return _page("Mail", f"<table>{rows}</table>" if rows else "<p>No mail yet.</p>")

    async def show(request: Request) -> Response:
        mail = mailbox.find(request.path_params["number"])
        if mail is None:
            raise HTTPException(404, "There is no such message.")
        to = escape(", ".join(mail.recipients))
        return _page(mail.subject, f"<p>To {to}</p><pre>{escape(mail.text)}</pre><p><a href='/'>All mail</a>")

    async def messages(request: Request) -> Response:
        found = [mail.as_json() for mail in mailbox.to(request.query_params.get("to"))]
        return JSONResponse({"messages": found})

    routes = [
        Route("/", index),
        Route("/mails/{number:int}", show),
        Route("/messages", messages),
    ]
    return Starlette(routes=routes)


def _row(mail: Mail) -> str:
    to, subject = escape(", ".join(mail.recipients)), escape(mail.subject or "(no subject)")
    time = f"{mail.received_at:%H:%M:%S}"
    return f"<tr><td>{time}<td>{to}<td><a href='/mails/{mail.number}'>{subject}</a></tr>"


def _page(title: str, body: str) -> HTMLResponse:
    style = "body{font:16px/1.5 system-ui;margin:2rem}td{padding:.2rem 1rem .2rem 0}pre{white-space:pre-wrap}"
    head = f"<meta charset=utf-8><title>{escape(title)}</title><style>{style}</style>"
    # A message is a stranger's text: should any of it ever be read as markup, it may still load nothing.
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(f"<!doctype html>{head}<h1>{escape(title)}</h1>{body}", headers=headers)


async def serve(smtp_port: int, page_port: int) -> None:
    """Both servers on the loopback address, until SIGINT or SIGTERM."""
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        return SMTP(mailbox, data_size_limit=MAX_MESSAGE_BYTES, enable_SMTPUTF8=True, hostname="localhost")

    smtp = await loop.create_server(session, "127.0.0.1", smtp_port)
    config = uvicorn.Config(page_app(mailbox), host="127.0.0.1", port=page_port, log_level="warning")
    async with smtp:
        await uvicorn.Server(config).serve()
