import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from ams_common.testing.eventually import eventually
from identity_svc.mailer import Mailer, SmtpServer, backoff
from identity_svc.mails import Composer
from identity_svc.rpc import IdentityService

SENDER = "AMS <no-reply@ams.example>"
EMAIL = "mia@example.com"


MakeMailer = Callable[..., Mailer]


@pytest.fixture
def make_mailer(servicer: IdentityService, database_url: str, clock: Any) -> MakeMailer:
    def make(port: int, tls: str = "opportunistic") -> Mailer:
        server = SmtpServer("127.0.0.1", port, "", "", tls)
        composer = Composer(SENDER)
        return Mailer(database_url, servicer.database, servicer.vault, composer, server, clock)

    return make


@pytest.fixture
def queue_invite(servicer: IdentityService, clock: Any) -> Callable[[str], Awaitable[None]]:
    async def queue(recipient: str) -> None:
        async with servicer.database.change_by_system("test", audited=False) as change:
            await servicer.mail_queue.send_invite(change.store, recipient, "7K2M-Q9TD", "merchant", clock())

    return queue


@pytest.fixture
def mails(servicer: IdentityService) -> Callable[[], Awaitable[list[tuple[str, int, bool]]]]:
    async def read() -> list[tuple[str, int, bool]]:
        """(status, attempts, whether what it says is gone) of each mail."""
        query = "SELECT status, attempts, sealed_values IS NULL AS is_gone FROM mails ORDER BY mail_id"
        async with servicer.database.connection() as connection:
            rows = await connection.fetch(query)
        return [(row["status"], row["attempts"], row["is_gone"]) for row in rows]

    return read


async def test_a_mail_is_sent_and_what_it_said_deleted(
    smtp: Any, make_mailer: MakeMailer, queue_invite: Any, mails: Any
) -> None:
    await queue_invite(EMAIL)
    assert await make_mailer(smtp.port).send_batch() == 1
    [(sender, recipients, message)] = smtp.taken
    assert (sender, recipients) == ("no-reply@ams.example", [EMAIL])
    assert (message["From"], message["To"], message["Subject"]) == (SENDER, EMAIL, "You are invited to AMS")
    text = message.get_body(("plain",))
    html = message.get_body(("html",))
    assert text is not None and "7K2M-Q9TD" in text.get_content().splitlines()
    assert html is not None
    assert 'href="https://ams.example/register/merchant?invite_code=7K2M-Q9TD&amp;email=mia%40' in (
        html.get_content()
    )
    assert await mails() == [("sent", 1, True)]
    assert await make_mailer(smtp.port).send_batch() == 0


async def test_a_code_stands_on_a_line_of_its_own(smtp: Any, make_mailer: MakeMailer, identity: Any) -> None:
    await identity.register_consumer(EMAIL)
    code = await identity.code_to(EMAIL)
    await make_mailer(smtp.port).send_batch()
    text = smtp.taken[0][2].get_body(("plain",))
    assert text is not None
    assert code in text.get_content().splitlines()
    assert text["Content-Transfer-Encoding"] == "7bit"  # so that it can be found in the raw mail, too


async def test_the_mailer_sends_what_comes_while_it_runs(
    smtp: Any, make_mailer: MakeMailer, queue_invite: Any
) -> None:
    task = asyncio.create_task(make_mailer(smtp.port).run())
    try:
        for number in range(3):
            await queue_invite(f"m{number}@example.com")

        async def all_came() -> bool:
            return len(smtp.taken) == 3

        await eventually(all_came)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_mail_refused_for_now_is_tried_again_later(
    smtp: Any, make_mailer: MakeMailer, queue_invite: Any, mails: Any, clock: Any
) -> None:
    smtp.answers = ["451 come back", "451 come back"]
    await queue_invite(EMAIL)
    mailer = make_mailer(smtp.port)
    await mailer.send_batch()
    assert await mailer.send_batch() == 0  # not at once
    clock.advance(backoff(1))
    await mailer.send_batch()
    assert await mails() == [("queued", 2, False)]
    clock.advance(backoff(2))
    await mailer.send_batch()
    assert await mails() == [("sent", 3, True)]
    assert len(smtp.taken) == 1


async def test_a_mail_refused_for_good_is_given_up(
    smtp: Any, make_mailer: MakeMailer, queue_invite: Any, mails: Any
) -> None:
    smtp.answers = ["554 never"]
    await queue_invite(EMAIL)
    await queue_invite("next@example.com")
    await make_mailer(smtp.port).send_batch()
    assert sorted(await mails()) == [("failed", 1, True), ("sent", 1, True)]


async def test_mail_waits_for_a_server_that_is_away(
    make_smtp: Any, make_mailer: MakeMailer, queue_invite: Any, mails: Any, clock: Any
) -> None:
    smtp = make_smtp()
    async with smtp.serving():
        pass  # the port is known and free now
    await queue_invite(EMAIL)
    await make_mailer(smtp.port).send_batch()
    assert await mails() == [("queued", 1, False)]
    clock.advance(backoff(1))
    async with smtp.serving():
        await make_mailer(smtp.port).send_batch()
    assert await mails() == [("sent", 2, True)]


async def test_a_mail_that_comes_too_late_is_not_sent(
    smtp: Any, make_mailer: MakeMailer, queue_invite: Any, mails: Any, clock: Any
) -> None:
    await queue_invite(EMAIL)
    clock.advance(timedelta(days=1, seconds=1))
    await make_mailer(smtp.port).send_batch()
    assert (await mails(), smtp.taken) == ([("failed", 1, True)], [])


async def test_two_mailers_send_each_mail_once(smtp: Any, make_mailer: MakeMailer, queue_invite: Any) -> None:
    for number in range(15):
        await queue_invite(f"m{number}@example.com")
    mailers = [make_mailer(smtp.port) for _ in range(3)]
    await asyncio.gather(*(mailer.send_batch() for mailer in mailers))
    await mailers[0].send_batch()
    recipients = [recipients[0] for _, recipients, _ in smtp.taken]
    assert sorted(recipients) == sorted({f"m{number}@example.com" for number in range(15)})


async def test_a_mail_whose_sender_died_is_sent_by_another(
    smtp: Any, make_mailer: MakeMailer, queue_invite: Any, servicer: IdentityService, clock: Any
) -> None:
    await queue_invite(EMAIL)
    async with servicer.database.change_by_system("test", audited=False) as change:
        now = clock()
        leased_until = now + timedelta(minutes=2)
        claimed = await change.store.claim_mails(now=now, leased_until=leased_until, limit=10)
    assert len(claimed) == 1
    assert await make_mailer(smtp.port).send_batch() == 0
    clock.advance(timedelta(minutes=2, seconds=1))
    assert await make_mailer(smtp.port).send_batch() == 1
    assert len(smtp.taken) == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_where_tls_is_wanted_nothing_goes_out_without(
    smtp: Any, make_mailer: MakeMailer, queue_invite: Any, mails: Any, tls: str
) -> None:
    await queue_invite(EMAIL)
    await make_mailer(smtp.port, tls).send_batch()
    assert (await mails(), smtp.taken) == ([("queued", 1, False)], [])


@pytest.mark.parametrize(
    "recipient", ["=?utf-8?q?a=0ab?=@example.com", "a..b@example.com", "mañana@example.com"]
)
async def test_a_strange_address_neither_stops_the_others_nor_changes_the_recipient(
    smtp: Any, make_mailer: MakeMailer, queue_invite: Any, recipient: str
) -> None:
    await queue_invite(recipient)
    await queue_invite(EMAIL)
    await make_mailer(smtp.port).send_batch()
    recipients = [recipients for _, recipients, _ in smtp.taken]
    assert [EMAIL] in recipients
    assert all(len(each) == 1 and each[0] in (recipient, EMAIL) for each in recipients)
    assert all(message["Bcc"] is None for _, _, message in smtp.taken)
