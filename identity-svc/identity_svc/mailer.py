"""Sends queued mail by SMTP, in the background, until it is taken or not worth sending any more."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

import aiosmtplib
from ams_common import metrics
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
_LEASE = timedelta(seconds=150)
# What one mail can take: four answers, each just in time. Whatever of a batch can't be sent within the lease
# is left, so that no mail goes out twice while the process that claimed it runs.
_LONGEST_SENDING = timedelta(seconds=4 * _SMTP_TIMEOUT_S)
_LONGEST_BACKOFF = timedelta(minutes=5)
_WATCH_EVERY_S = 15.0

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


class GivenUpFor(StrEnum):
    """Why a mail isn't tried any more."""

    REFUSED = "refused"  # the server said no for good (RFC 5321 4.2.1: 5yz)
    TOO_LATE = "too_late"  # it would come when nobody has a use for it
    UNWRITABLE = "unwritable"  # it can't be written, or the server can't take such an address


def final_reason(error: Exception) -> GivenUpFor | None:
    """Why trying again is of no use after this fault; None where it may be."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            is_final = all(500 <= refused.code < 600 for refused in error.recipients)
            return GivenUpFor.REFUSED if is_final else None
        case aiosmtplib.SMTPAuthenticationError() | aiosmtplib.SMTPConnectResponseError():
            return None  # the operator's to mend, and no fault of this mail
        case aiosmtplib.SMTPResponseException():
            return GivenUpFor.REFUSED if 500 <= error.code < 600 else None
        case aiosmtplib.SMTPNotSupported():
            return GivenUpFor.UNWRITABLE
        case aiosmtplib.SMTPException() | OSError():
            return None
        case _:
            return GivenUpFor.UNWRITABLE


def said_by_server(error: Exception) -> str:
    """What an attempt ended with, in words for admins: the server's own answers, or the fault."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            text = "; ".join(f"{refused.code} {refused.message}" for refused in error.recipients)
        case aiosmtplib.SMTPResponseException():
            text = f"{error.code} {error.message}"
        case _:
            text = str(error) or type(error).__name__
    return " ".join(text.split())[:500]


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
        """Sends what is due, a batch at most. Returns how many mails the server was asked to take: 0 when
        none was due, or the server is away: then it is of no use to go on at once."""
        now = self._clock()
        leased_until = now + _LEASE
        async with self._database.change_by_system("mail.send", audited=False) as change:
            mails = await change.store.claim_mails(now=now, leased_until=leased_until, limit=_BATCH)
        if not mails:
            return 0
        client = self._server.client()
        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            for mail in mails:
                await self._try_later(mail, error)
            return 0
        try:
            for mail in mails:
                if self._clock() + _LONGEST_SENDING > leased_until:
                    await self._postpone(mail, "the mail server is slow", self._clock())
                else:
                    await self._send(client, mail)
        finally:
            client.close()
        return len(mails)

    async def _send(self, client: aiosmtplib.SMTP, mail: Mail) -> None:
        if mail.give_up_at <= self._clock():
            await self._give_up(mail, GivenUpFor.TOO_LATE, "")
            return
        try:
            values = json.loads(self._vault.unseal(mail.sealed_values))
            message = self._composer.compose(
                mail.mail_id, mail.template, mail.recipient, values, self._clock()
            )
            # The envelope's recipient is the stored address itself, whatever a header parser makes of it.
            sender = self._composer.sender_address
            await client.send_message(message, sender=sender, recipients=[mail.recipient])
        except Exception as error:  # whatever one mail has, the others go on
            if reason := final_reason(error):
                await self._give_up(mail, reason, said_by_server(error))
            else:
                await self._try_later(mail, error)
        else:
            await self._finish(mail, "sent")
            _count("sent")

    async def _try_later(self, mail: Mail, error: Exception) -> None:
        next_attempt_at = self._clock() + backoff(mail.attempts)
        if next_attempt_at >= mail.give_up_at:
            await self._give_up(mail, GivenUpFor.TOO_LATE, said_by_server(error))
            return
        # Without the server's words: they may repeat the address.
        fault = type(error).__name__
        log.warning("mail not sent", extra={"mail_id": str(mail.mail_id), "error": fault})
        await self._postpone(mail, said_by_server(error), next_attempt_at)
        _count("retried")

    async def _give_up(self, mail: Mail, reason: GivenUpFor, error: str) -> None:
        log.error("mail given up", extra={"mail_id": str(mail.mail_id), "reason": reason.value})
        await self._finish(mail, "failed", reason, error)
        metrics.counter("ams_mails_given_up", "Mails that were given up, by reason.", "reason").labels(
            reason.value
        ).inc()

    async def _postpone(self, mail: Mail, error: str, next_attempt_at: datetime) -> None:
        async with self._database.change_by_system("mail.postpone", audited=False) as change:
            await change.store.postpone_mail(
                mail_id=mail.mail_id, error=error, next_attempt_at=next_attempt_at
            )

    async def _finish(
        self, mail: Mail, status: str, reason: GivenUpFor | None = None, error: str = ""
    ) -> None:
        async with self._database.change_by_system("mail.finish", audited=False) as change:
            await change.store.finish_mail(
                mail_id=mail.mail_id,
                status=status,
                error=error or None,
                given_up_for=reason,
                now=self._clock(),
            )


def _count(outcome: str) -> None:
    metrics.counter("ams_mails", "Attempts to send a mail, by outcome.", "outcome").labels(outcome).inc()


async def keep_queue_measured(database: Database[Store], clock: Clock) -> None:
    """For ever: how many mails wait, and for how long the oldest has, as operators see it."""
    await run_forever("measuring of mails", partial(measure_queue, database, clock), _WATCH_EVERY_S)


async def measure_queue(database: Database[Store], clock: Clock) -> None:
    """Sets both metrics. Each process says the same: the queue is in the database."""
    async with database.read() as store:
        measured = await store.measure_mails()
    assert measured is not None, "counting has a row"
    age = clock() - measured.oldest_at if measured.oldest_at else timedelta()
    waiting = metrics.gauge("ams_mails_waiting", "Mails that aren't sent yet.", over_workers="livemax")
    oldest = metrics.gauge(
        "ams_mails_oldest_seconds", "Age of the oldest mail that isn't sent yet.", over_workers="livemax"
    )
    waiting.set(measured.waiting)
    oldest.set(age.total_seconds())
