"""Sends queued mail by SMTP, in the background, until it is taken or not worth sending any more."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import aiosmtplib
from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.loops import run_forever
from ams_common.wakeups import Wakeups

from identity_svc.mails import Composer
from identity_svc.records import Mail
from identity_svc.store import Store
from identity_svc.vault import Vault

log = logging.getLogger(__name__)

_BATCH = 10
_POLL_S = 1.0
_RETRY_S = 0.5
_SMTP_TIMEOUT_S = 10.0
# Longer than a whole batch can take, so that no mail is sent twice while the process that claimed it runs.
_LEASE = timedelta(seconds=150)
_LONGEST_BACKOFF = timedelta(minutes=5)

# Setting → what aiosmtplib takes: TLS from the first byte, and STARTTLS (None: if it is offered).
SMTP_TLS_MODES: Mapping[str, tuple[bool, bool | None]] = {
    "starttls": (False, True),
    "implicit": (True, False),
    "opportunistic": (False, None),
    "plaintext": (False, False),
}


def backoff(attempts: int) -> timedelta:
    """How long to wait after this many attempts: 2 s, 4 s, 8 s … 5 min."""
    return min(timedelta(seconds=2 ** min(attempts, 20)), _LONGEST_BACKOFF)


def is_final(error: Exception) -> bool:
    """Whether trying again is of no use: the server said no for good (RFC 5321 4.2.1: 5yz), or the mail
    can't be written at all."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(500 <= refused.code < 600 for refused in error.recipients)
    if isinstance(error, (aiosmtplib.SMTPAuthenticationError, aiosmtplib.SMTPConnectResponseError)):
        return False  # the operator's to mend, and no fault of this mail
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return 500 <= error.code < 600
    return isinstance(error, aiosmtplib.SMTPNotSupported) or not isinstance(
        error, (aiosmtplib.SMTPException, OSError)
    )


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The server that takes our mail. `tls` is one of SMTP_TLS_MODES."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    tls: str

    def client(self) -> aiosmtplib.SMTP:
        use_tls, start_tls = SMTP_TLS_MODES[self.tls]
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username or None,
            password=self.password or None,
            use_tls=use_tls,
            start_tls=start_tls,
            timeout=_SMTP_TIMEOUT_S,
        )


class Mailer:
    """Sends what is in the queue. Several processes may do it: each mail is claimed by one."""

    def __init__(
        self,
        database_url: str,
        database: Database[Store],
        vault: Vault,
        composer: Composer,
        server: SmtpServer,
        clock: Clock,
    ) -> None:
        self._database_url = database_url
        self._database = database
        self._vault = vault
        self._composer = composer
        self._server = server
        self._clock = clock

    async def run(self) -> None:
        """For ever; faults are logged and tried again."""
        await run_forever("mailer", self._send_as_they_come, _RETRY_S)

    async def _send_as_they_come(self) -> None:
        async with Wakeups.open(self._database_url, "mails") as wakeups:
            while True:
                wakeups.clear()
                if not await self.send_batch():
                    await wakeups.wait(_POLL_S)
                # aiosmtplib waits by asyncio.wait_for, which before Python 3.12 loses a cancellation that
                # comes together with an answer of the server: the mailer would never end.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError

    async def send_batch(self) -> int:
        """Sends what is due, a batch at most; returns how many mails that were."""
        now = self._clock()
        async with self._database.change_by_system("mail.send", audited=False) as change:
            mails = await change.store.claim_mails(now=now, leased_until=now + _LEASE, limit=_BATCH)
        if not mails:
            return 0
        client = self._server.client()
        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            for mail in mails:
                await self._settle_failure(mail, error, is_final=False)
            return len(mails)
        try:
            for mail in mails:
                await self._send(client, mail)
        finally:
            client.close()
        return len(mails)

    async def _send(self, client: aiosmtplib.SMTP, mail: Mail) -> None:
        now = self._clock()
        if mail.give_up_at <= now:
            await self._finish(mail, "failed", "too late", now)
            return
        try:
            values = json.loads(self._vault.unseal(mail.sealed_values))
            message = self._composer.compose(mail.template, mail.recipient, values, now)
            # The envelope's recipient is the stored address itself, whatever a header parser makes of it.
            sender = self._composer.sender_address
            await client.send_message(message, sender=sender, recipients=[mail.recipient])
        except Exception as error:  # whatever one mail has, the others go on
            await self._settle_failure(mail, error, is_final=is_final(error))
        else:
            await self._finish(mail, "sent", None, now)

    async def _settle_failure(self, mail: Mail, error: Exception, *, is_final: bool) -> None:
        now = self._clock()
        next_attempt_at = now + backoff(mail.attempts)
        reason = repr(error)[:500]
        gives_up = is_final or next_attempt_at >= mail.give_up_at
        log.warning(
            "mail not sent", extra={"mail_id": str(mail.mail_id), "gives_up": gives_up, "error": reason}
        )
        if gives_up:
            await self._finish(mail, "failed", reason, now)
            return
        async with self._database.change_by_system("mail.postpone", audited=False) as change:
            await change.store.postpone_mail(
                mail_id=mail.mail_id, error=reason, next_attempt_at=next_attempt_at
            )

    async def _finish(self, mail: Mail, status: str, error: str | None, now: datetime) -> None:
        async with self._database.change_by_system("mail.finish", audited=False) as change:
            await change.store.finish_mail(mail_id=mail.mail_id, status=status, error=error, now=now)
