"""What mails say: a template and its values become an EmailMessage; queueing one in a transaction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from enum import StrEnum
from urllib.parse import urlencode

import asyncpg
import jinja2

from identity_svc import challenges, invites
from identity_svc.system_store import SystemStore
from identity_svc.vault import Vault

# An invite is worth trying for a day; a code only while it is good.
_INVITE_PATIENCE = timedelta(days=1)


class Template(StrEnum):
    """The files in `templates`, as text and as HTML."""

    CODE = "code"
    INVITE = "invite"


_SUBJECTS: Mapping[Template, str] = {
    Template.CODE: "Your code for AMS",
    Template.INVITE: "You are invited to AMS",
}


class Composer:
    """Writes the messages."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("identity_svc"),
            autoescape=jinja2.select_autoescape(["html"]),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
        )

    def compose(
        self, template: Template, recipient: str, values: Mapping[str, object], now: datetime
    ) -> EmailMessage:
        """Raises ValueError for an address that no header can hold."""
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = _SUBJECTS[template]
        message["Date"] = format_datetime(now)
        message["Message-ID"] = make_msgid(domain=parseaddr(self._sender)[1].rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps out-of-office answers away
        message.set_content(self._render(template, "txt", values))
        message.add_alternative(self._render(template, "html", values), subtype="html")
        return message

    def _render(self, template: Template, kind: str, values: Mapping[str, object]) -> str:
        return self._templates.get_template(f"{template.value}.{kind}").render(values)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Puts mails into the queue, as part of the caller's transaction. Their values are sealed: codes
    stand nowhere else in the clear."""

    store: SystemStore
    vault: Vault
    public_url: str

    async def send_code(
        self, connection: asyncpg.Connection, draft: challenges.Draft, code: str, now: datetime
    ) -> None:
        """Signing in, only to an address that has an account."""
        minutes = challenges.TTL // timedelta(minutes=1)
        values = {"code": code, "purpose": draft.purpose.value, "minutes": minutes}
        await self._queue(
            connection,
            Template.CODE,
            draft.email,
            values,
            now,
            patience=challenges.TTL,
            only_to_user=draft.purpose is challenges.Purpose.SIGN_IN,
        )

    async def send_invite(
        self, connection: asyncpg.Connection, recipient: str, code: str, now: datetime
    ) -> None:
        query = urlencode({"invite_code": code, "email": recipient})
        link = f"{self.public_url.rstrip('/')}/register/merchant?{query}"
        values = {"code": code, "link": link, "days": invites.TTL.days}
        await self._queue(connection, Template.INVITE, recipient, values, now, patience=_INVITE_PATIENCE)

    async def _queue(
        self,
        connection: asyncpg.Connection,
        template: Template,
        recipient: str,
        values: Mapping[str, object],
        now: datetime,
        *,
        patience: timedelta,
        only_to_user: bool = False,
    ) -> None:
        await self.store.insert_mail(
            connection,
            only_to_user=only_to_user,
            recipient=recipient,
            template=template.value,
            sealed_values=self.vault.seal(json.dumps(values).encode()),
            now=now,
            give_up_at=now + patience,
        )
