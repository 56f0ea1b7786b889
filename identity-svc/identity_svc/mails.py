"""What mails say: queueing a template's values in a transaction, and making them an EmailMessage."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy, Policy
from email.utils import format_datetime, parseaddr
from enum import StrEnum
from urllib.parse import urlencode
from uuid import UUID

import jinja2
from ams.identity.v1.notifications_service_pb2 import NotificationCategory
from ams_common.ids import uuid7

from identity_svc import challenges, invites
from identity_svc.notifications.catalogue import CATALOGUE, REQUIRED, Kind
from identity_svc.notifications.store import Recipient
from identity_svc.notifications.telling import Told, word
from identity_svc.notifications.unsubscribing import Subscription
from identity_svc.projects.rules import INVITATION_TTL
from identity_svc.store import Store
from identity_svc.vault import Vault

# For how long sending is tried: an invite for a day, what services tell for three, a code only while it is
# good.
_GIVE_UP_INVITE_AFTER = timedelta(days=1)
_GIVE_UP_NOTIFICATION_AFTER = timedelta(days=3)


class _UnfoldedHeader(UnstructuredHeader, BaseHeader):
    """A header on one line, however long: the library would write a long link as encoded words (RFC 2047),
    in which no mail program looks for one. The message's policy can't say so: aiosmtplib has its own
    (findings/aiosmtplib-message-policy.sh)."""

    max_count = 1

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _UnfoldedHeader)
_POLICY = EmailPolicy(header_factory=_HEADERS)

_WORD_JOINER = "\u2060"
# "evil.example", "https://…", "somebody@…", but not "EUR 0.002" or "14:00".
_LINK_PARTS = re.compile(r"(?<=\w)(?:\.(?=[^\W\d])|:(?=/)|@(?=\w))")


class Template(StrEnum):
    """A mail of ours to an address, with two files in `templates`: its name with .txt and with .html."""

    CODE = "code"
    INVITE = "invite"
    ADMIN_INVITE = "admin_invite"
    PROJECT_INVITE = "project_invite"


# With the values of the template.
_SUBJECTS: Mapping[Template, str] = {
    Template.CODE: "Your code for AMS",
    Template.INVITE: "You are invited to AMS",
    Template.ADMIN_INVITE: "You are invited to the admins of AMS",
    Template.PROJECT_INVITE: "{{ invited_by }} invites you to the project {{ project_name }} on AMS",
}

# By role: the mail, and the page where the code is given back.
_INVITES = {
    "merchant": (Template.INVITE, "/register/merchant"),
    "admin": (Template.ADMIN_INVITE, "/team/join"),
}


@dataclass(frozen=True, slots=True)
class MailQueue:
    """Puts mails into the queue, in the caller's transaction. Their values are sealed: codes stand nowhere
    else in the clear."""

    vault: Vault
    public_url: str

    async def send_code(
        self,
        store: Store,
        recipient: str,
        code: str,
        purpose: challenges.Purpose,
        expires_at: datetime,
        now: datetime,
    ) -> None:
        """Queues the mail with a code; one for signing in only when the address has an account."""
        minutes = challenges.whole_minutes_left(expires_at, now)
        values = {"code": code, "purpose": purpose.value, "minutes": minutes}
        insert = store.insert_mail_to_user if purpose is challenges.Purpose.SIGN_IN else store.insert_mail
        await insert(**self._mail(Template.CODE, recipient, values, now, expires_at))
        await store.announce_mail()

    async def send_invite(self, store: Store, recipient: str, code: str, role: str, now: datetime) -> None:
        """Queues the mail with an invite's code, and a link that holds both. `role`: what it invites to."""
        template, path = _INVITES[role]
        query = urlencode({"invite_code": code, "email": recipient})
        link = f"{self.public_url.rstrip('/')}{path}?{query}"
        values = {"code": code, "link": link, "days": invites.TTL.days}
        give_up_at = now + _GIVE_UP_INVITE_AFTER
        await store.insert_mail(**self._mail(template, recipient, values, now, give_up_at, template))
        await store.announce_mail()

    async def send_project_invite(
        self, store: Store, recipient: str, code: str, project_name: str, invited_by: str, now: datetime
    ) -> None:
        """Queues the mail with the code of an invitation to a project, and a link that holds it."""
        link = f"{self.public_url.rstrip('/')}/invitations?{urlencode({'code': code})}"
        values = {
            "code": code,
            "link": link,
            "days": INVITATION_TTL.days,
            "project_name": project_name,
            "invited_by": invited_by,
            "recipient": recipient,
        }
        template, give_up_at = Template.PROJECT_INVITE, now + _GIVE_UP_INVITE_AFTER
        await store.insert_mail(**self._mail(template, recipient, values, now, give_up_at, template))
        await store.announce_mail()

    async def send_notification(self, store: Store, recipient: Recipient, told: Told, now: datetime) -> None:
        """Queues the mail with what a service tells somebody. Its link leads to the page about it."""
        category = told.kind.category
        values = {
            **told.values,
            "link": self._link(told.path),
            "choices_link": self._link("/settings/notifications"),
            "unsubscribe_link": ""
            if category in REQUIRED
            else self._link(f"/unsubscribe/{Subscription(recipient.user_id, category).token(self.vault)}"),
        }
        give_up_at, sequence = now + _GIVE_UP_NOTIFICATION_AFTER, NotificationCategory.Name(category)
        await store.insert_mail(**self._mail(told.name, recipient.email, values, now, give_up_at, sequence))
        await store.announce_mail()

    def _link(self, path: str) -> str:
        return self.public_url.rstrip("/") + path

    def _mail(
        self,
        template: str,
        recipient: str,
        values: Mapping[str, object],
        now: datetime,
        give_up_at: datetime,
        sequence: str | None = None,
    ) -> Mapping[str, object]:
        """The columns of a queued mail, with its values sealed. Of one sequence to one address no mail
        overtakes another: an invite's old code would come after its new one, an approval after its end.
        None: it waits for no other."""
        return {
            "mail_id": uuid7(),
            "recipient": recipient,
            "template": template,
            "sealed_values": self.vault.seal(json.dumps(values).encode()),
            "now": now,
            "give_up_at": give_up_at,
            "sequence": sequence,
        }


class Composer:
    """Writes the messages, which come from `sender`: an address, or a name and <an address>."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self.sender_address = parseaddr(sender)[1]
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("identity_svc"),
            # Subjects are written here, and are plain text.
            autoescape=jinja2.select_autoescape(["html"], default_for_string=False),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
        )
        self._templates.filters["unlinked"] = unlinked

    def compose(
        self, mail_id: UUID, template: str, recipient: str, values: Mapping[str, object], now: datetime
    ) -> EmailMessage:
        """The whole message: of a Template, or of a kind of the catalogue. Raises ValueError for another one,
        and for an address that no header can hold."""
        message = EmailMessage(policy=_POLICY)
        message["From"] = self._sender
        message["To"] = recipient
        message["Date"] = format_datetime(now)
        # The same in every attempt: where the server took one and we never heard, mailboxes show it once.
        message["Message-ID"] = f"<{mail_id}@{self.sender_address.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps out-of-office answers away
        if template in CATALOGUE:
            self._write_notification(message, CATALOGUE[template], values)
        else:
            subject = self._templates.from_string(_SUBJECTS[Template(template)]).render(values)
            self._write(message, subject, template, values)
        return message

    def _write_notification(self, message: EmailMessage, kind: Kind, values: Mapping[str, object]) -> None:
        body = {name: unlinked(value) if isinstance(value, str) else value for name, value in values.items()}
        facts = [(label, said) for label, text in kind.facts.items() if (said := word(text, body))]
        # Of a mail that an earlier release has queued: it says what it can.
        unsubscribe_link = values.get("unsubscribe_link", "")
        self._write(
            message,
            word(kind.title, values),
            "notification",
            {
                "text": word(kind.text, body),
                "details": [said for text in kind.details if (said := word(text, body))],
                "facts": facts,
                "width": max((len(label) + 1 for label, _ in facts), default=0),
                "button": kind.button,
                "link": values["link"],
                "choices_link": values.get("choices_link", ""),
                "unsubscribe_link": unsubscribe_link,
            },
        )
        if unsubscribe_link:
            # RFC 8058: a mail program's own button does it with one POST.
            message["List-Unsubscribe"] = f"<{unsubscribe_link}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"

    def _write(
        self, message: EmailMessage, subject: str, template: str, values: Mapping[str, object]
    ) -> None:
        # On one line, whatever somebody called a service: a header has no other.
        message["Subject"] = " ".join(subject.split())
        message.set_content(self._templates.get_template(f"{template}.txt").render(values))
        html = self._templates.get_template(f"{template}.html").render({**values, "title": unlinked(subject)})
        message.add_alternative(html, subtype="html")


def unlinked(text: str) -> str:
    """Text that others have written, so that no mail program makes a link of what looks like an address: an
    invisible word joiner stands behind each dot, colon and at sign that could be part of one."""
    return _LINK_PARTS.sub(lambda part: f"{part[0]}{_WORD_JOINER}", text)
