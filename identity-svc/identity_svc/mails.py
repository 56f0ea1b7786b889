"""What mails say: queueing a template's values in a transaction, and making them an EmailMessage."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from enum import StrEnum
from urllib.parse import urlencode

import jinja2
from ams_common.ids import uuid7

from identity_svc import challenges, invites
from identity_svc.projects.rules import INVITATION_TTL
from identity_svc.store import Store
from identity_svc.vault import Vault

# For how long sending is tried: an invite for a day, what services tell for three, a code only while it is
# good.
_GIVE_UP_INVITE_AFTER = timedelta(days=1)
_GIVE_UP_NOTIFICATION_AFTER = timedelta(days=3)


class Template(StrEnum):
    """A mail's two files in `templates`: its name with .txt and with .html."""

    CODE = "code"
    INVITE = "invite"
    ADMIN_INVITE = "admin_invite"
    PROJECT_INVITE = "project_invite"
    PRICE_CHANGE_AHEAD = "price_change_ahead"
    INVOICE_ISSUED = "invoice_issued"
    REPORT_SHARED = "report_shared"
    REPORT_READY = "report_ready"
    THRESHOLD_REACHED = "threshold_reached"


# With the values of the template.
_SUBJECTS: Mapping[Template, str] = {
    Template.CODE: "Your code for AMS",
    Template.INVITE: "You are invited to AMS",
    Template.ADMIN_INVITE: "You are invited to the admins of AMS",
    Template.PROJECT_INVITE: "{{ invited_by }} invites you to the project {{ project_name }} on AMS",
    Template.PRICE_CHANGE_AHEAD: (
        "{% if is_canceled %}The price of {{ service_name }} stays as it is"
        "{% else %}The price of {{ service_name }} changes on {{ starts_on }}{% endif %}"
    ),
    Template.INVOICE_ISSUED: (
        "{% if is_credit_note %}Credit note{% else %}Invoice{% endif %} {{ number }} of {{ merchant_name }}"
    ),
    Template.REPORT_SHARED: "{{ merchant_name }} has shared a usage report with you",
    Template.REPORT_READY: "Your usage report is ready",
    Template.THRESHOLD_REACHED: "Alert “{{ rule_name }}”: {{ threshold }} reached",
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
        await store.insert_mail(**self._mail(template, recipient, values, now, give_up_at))
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
        give_up_at = now + _GIVE_UP_INVITE_AFTER
        await store.insert_mail(**self._mail(Template.PROJECT_INVITE, recipient, values, now, give_up_at))
        await store.announce_mail()

    async def send_notification(
        self,
        store: Store,
        recipient: str,
        template: Template,
        values: Mapping[str, object],
        path: str,
        now: datetime,
    ) -> None:
        """Queues the mail with what a service tells somebody. Its link leads to the page at `path`."""
        values = {**values, "link": self.public_url.rstrip("/") + path}
        give_up_at = now + _GIVE_UP_NOTIFICATION_AFTER
        await store.insert_mail(**self._mail(template, recipient, values, now, give_up_at))
        await store.announce_mail()

    def _mail(
        self,
        template: Template,
        recipient: str,
        values: Mapping[str, object],
        now: datetime,
        give_up_at: datetime,
    ) -> Mapping[str, object]:
        """The columns of a queued mail, with its values sealed."""
        return {
            "mail_id": uuid7(),
            "recipient": recipient,
            "template": template.value,
            "sealed_values": self.vault.seal(json.dumps(values).encode()),
            "now": now,
            "give_up_at": give_up_at,
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

    def compose(
        self, template: Template, recipient: str, values: Mapping[str, object], now: datetime
    ) -> EmailMessage:
        """The whole message. Raises ValueError for an address that no header can hold."""
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = recipient
        # On one line, whatever somebody called a service: a header has no other.
        subject = self._templates.from_string(_SUBJECTS[template]).render(values)
        message["Subject"] = " ".join(subject.split())
        message["Date"] = format_datetime(now)
        message["Message-ID"] = make_msgid(domain=self.sender_address.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps out-of-office answers away
        message.set_content(self._templates.get_template(f"{template}.txt").render(values))
        html = self._templates.get_template(f"{template}.html").render(values)
        message.add_alternative(html, subtype="html")
        return message
