"""A mail server that is away, refuses, hangs or is slow: no mail is lost, none comes twice or out of its
order, and no RPC waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import notifications_service_pb2 as notifications_pb
from ams.identity.v1.notifications_pb2 import AccessDecided, AccessEnded, Notification, ReportReady
from ams.identity.v1.notifications_service_pb2_grpc import NotificationsServiceStub
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common import metrics
from ams_common.ids import uuid7
from ams_common.testing.plugin import Serve
from ams_common.testing.tokens import TestIssuer
from identity_svc.event_handlers import NotificationHandler
from identity_svc.mailer import Mailer, SmtpServer, measure_queue
from identity_svc.mails import Composer
from identity_svc.rpc import IdentityService, services_of

STEP = timedelta(seconds=5)
MakeMailer = Callable[[int], Mailer]
Tell = Callable[..., Awaitable[None]]


@pytest.fixture
def make_mailer(servicer: IdentityService, database_url: str, clock: Any) -> MakeMailer:
    def make(port: int) -> Mailer:
        server = SmtpServer("127.0.0.1", port, "", "", "opportunistic")
        composer = Composer("AMS <no-reply@ams.example>")
        return Mailer(database_url, servicer.database, servicer.vault, composer, server, clock)

    return make


@pytest.fixture
async def people(identity: Any, servicer: IdentityService) -> dict[str, str]:
    """The ids of four consumers by their addresses; their own mails are forgotten."""
    emails = [f"{name}@example.com" for name in ("ann", "ben", "cora", "dan")]
    ids = {email: (await identity.register_consumer(email)).user.user_id for email in emails}
    async with servicer.database.connection() as connection:
        await connection.execute("DELETE FROM mails")
    return ids


@pytest.fixture
def tell(servicer: IdentityService, clock: Any) -> Tell:
    """`await tell(user_id, report_ready=…)`: queues the mail about it."""
    handler = NotificationHandler(servicer.mail_queue, clock)

    async def hear(user_id: str, **message: Any) -> None:
        notification = Notification(notification_id=str(uuid7()), user_id=user_id, **message)
        async with servicer.database.change_by_system("consume", audited=False) as change:
            await handler(change, [notification])

    return hear


@pytest.fixture
async def notifications(
    servicer: IdentityService, serve_rpc: Serve
) -> AsyncIterator[NotificationsServiceStub]:
    services = {service.name: (service, add) for service, add in services_of(servicer)}
    yield NotificationsServiceStub(await serve_rpc(*services["NotificationsService"]))


def subjects_by_recipient(smtp: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, [recipient], message in smtp.taken:
        found.setdefault(recipient, []).append(message["Subject"])
    return found


def sample(name: str, **labels: str) -> float:
    """A metric's value as a scrape has it; 0 where there is none yet."""
    wanted = "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}" if labels else ""
    lines = metrics.render().decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name}{wanted} ")), 0.0)


async def test_ten_minutes_of_trouble_lose_nothing_and_repeat_nothing(
    make_smtp: Any, make_mailer: MakeMailer, tell: Tell, people: dict[str, str], clock: Any
) -> None:
    smtp = make_smtp()
    async with smtp.serving():
        pass  # the port is known and free now
    mailer, queued = make_mailer(smtp.port), 0
    began, retried = clock(), sample("ams_mails_total", outcome="retried")

    async def go_on(until: timedelta) -> None:
        """Reports become ready meanwhile, one for each person every half minute."""
        nonlocal queued
        while clock() < began + until:
            if (clock() - began) // timedelta(seconds=30) >= queued:
                queued += 1
                for user_id in people.values():
                    day = f"{queued:04d}"
                    await tell(user_id, report_shared={"merchant_name": day, "report_id": day})
            while await mailer.send_batch():
                pass
            clock.advance(STEP)

    await go_on(timedelta(minutes=4))  # it is away
    assert smtp.taken == []
    async with smtp.serving():
        smtp.answers = ["451 come back"] * 10_000
        await go_on(timedelta(minutes=7))
        assert smtp.taken == []
        smtp.answers = []
        await go_on(timedelta(minutes=10))
        clock.advance(timedelta(minutes=5))  # longer no mail is put off
        while await mailer.send_batch():
            pass
    told = [f"{number:04d} has shared a usage report with you" for number in range(1, queued + 1)]
    assert queued >= 20
    assert subjects_by_recipient(smtp) == dict.fromkeys(people, told)
    assert sample("ams_mails_total", outcome="retried") > retried


@dataclass
class HangingServer:
    """Takes connections, and says nothing."""

    port: int = 0
    is_reached: asyncio.Event = field(default_factory=asyncio.Event)
    connections: list[asyncio.StreamReader] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections.append(reader)
            self.is_reached.set()
            await reader.read()  # until the mailer gives up
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield


async def test_no_rpc_waits_for_a_mail_server_that_hangs(
    identity: Any, make_mailer: MakeMailer, people: dict[str, str]
) -> None:
    hanging = HangingServer()
    async with hanging.serving():
        task = asyncio.create_task(make_mailer(hanging.port).run())
        try:
            await identity.stub.StartSignIn(pb.StartSignInRequest(email="ann@example.com"))
            await asyncio.wait_for(hanging.is_reached.wait(), 30)
            await identity.stub.StartSignIn(pb.StartSignInRequest(email="ben@example.com"))
            invite = pb.CreateInviteRequest(email="mia@example.com")
            await identity.stub.CreateInvite(invite, metadata=identity.admin)
            assert not hanging.connections[0].at_eof()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    rows = await identity.fetch("SELECT recipient FROM mails WHERE status = 'queued' ORDER BY position")
    assert [row["recipient"] for row in rows] == ["ann@example.com", "ben@example.com", "mia@example.com"]


async def test_an_older_mail_is_not_overtaken_where_order_matters_and_codes_wait_for_none(
    smtp: Any, make_mailer: MakeMailer, tell: Tell, people: dict[str, str], identity: Any, clock: Any
) -> None:
    ann, mailer = people["ann@example.com"], make_mailer(smtp.port)
    smtp.answers = ["451 come back"]
    await tell(ann, access_decided=AccessDecided(service_name="Maps", service_slug="maps", is_approved=True))
    assert await mailer.send_batch() == 1
    await tell(ann, access_ended=AccessEnded(service_name="Maps", service_slug="maps", ended_by="admin"))
    await tell(ann, report_ready=ReportReady(report_id="r1"))
    await identity.stub.StartSignIn(pb.StartSignInRequest(email="ann@example.com"))
    assert await mailer.send_batch() == 2
    assert sorted(subjects_by_recipient(smtp)["ann@example.com"]) == [
        "Your code for AMS",
        "Your usage report is ready",
    ]
    clock.advance(STEP)
    while await mailer.send_batch():
        pass
    assert subjects_by_recipient(smtp)["ann@example.com"][2:] == [
        "You have access to Maps",
        "Your access to Maps has ended",
    ]


async def test_what_is_told_while_the_mail_before_goes_out_is_not_left_behind(
    smtp: Any, make_mailer: MakeMailer, tell: Tell, people: dict[str, str]
) -> None:
    ann, mailers = people["ann@example.com"], [make_mailer(smtp.port) for _ in range(2)]
    for number in range(40):
        await asyncio.gather(
            tell(ann, report_shared={"merchant_name": f"{number:02d}", "report_id": "r1"}),
            *(mailer.send_batch() for mailer in mailers),
        )
    while await mailers[0].send_batch():
        pass
    told = [f"{number:02d} has shared a usage report with you" for number in range(40)]
    assert subjects_by_recipient(smtp) == {"ann@example.com": told}


async def test_a_code_goes_out_before_a_thousand_other_mails(
    smtp: Any, make_mailer: MakeMailer, people: dict[str, str], identity: Any, servicer: Any, clock: Any
) -> None:
    async with servicer.database.change_by_system("test", audited=False) as change:
        for number in range(1000):
            code, to = "7K2M-Q9TD", f"m{number}@example.com"
            await servicer.mail_queue.send_invite(change.store, to, code, "merchant", clock())
    await identity.stub.StartSignIn(pb.StartSignInRequest(email="ann@example.com"))
    await make_mailer(smtp.port).send_batch()
    assert "ann@example.com" in subjects_by_recipient(smtp)


async def test_what_a_slow_server_cant_take_in_time_is_left_to_the_next_and_comes_once(
    smtp: Any, make_mailer: MakeMailer, tell: Tell, people: dict[str, str], clock: Any
) -> None:
    for user_id in people.values():
        await tell(user_id, report_ready=ReportReady(report_id="r1"))
    another, take = make_mailer(smtp.port), smtp.handle_DATA

    async def take_slowly(*arguments: Any) -> str:
        answer = str(await take(*arguments))
        clock.advance(timedelta(minutes=1))
        await another.send_batch()  # as another process would meanwhile
        return answer

    smtp.handle_DATA = take_slowly
    await make_mailer(smtp.port).send_batch()
    smtp.handle_DATA = take
    while await another.send_batch():
        pass
    assert subjects_by_recipient(smtp) == {email: ["Your usage report is ready"] for email in people}


async def test_a_mail_that_may_come_twice_says_that_it_is_the_same(
    smtp: Any, make_mailer: MakeMailer, tell: Tell, people: dict[str, str], clock: Any
) -> None:
    """The server's answer can be lost, whatever we do: then it is sent again."""
    take = smtp.handle_DATA

    async def take_and_vanish(server: Any, *arguments: Any) -> str:
        await take(server, *arguments)
        server.transport.abort()
        return "250 nobody hears this"

    smtp.handle_DATA = take_and_vanish
    await tell(people["ann@example.com"], report_ready=ReportReady(report_id="r1"))
    await make_mailer(smtp.port).send_batch()
    smtp.handle_DATA = take
    clock.advance(STEP)
    await make_mailer(smtp.port).send_batch()
    first, second = (message for _, _, message in smtp.taken)
    assert first["Message-ID"] == second["Message-ID"] != ""


async def test_what_is_given_up_is_counted_and_shown_to_admins(
    smtp: Any,
    make_mailer: MakeMailer,
    tell: Tell,
    people: dict[str, str],
    notifications: NotificationsServiceStub,
    issuer: TestIssuer,
    clock: Any,
) -> None:
    before = {reason: sample("ams_mails_given_up_total", reason=reason) for reason in ("refused", "too_late")}
    smtp.answers = ["554 5.7.1 We take no mail of yours"]
    await tell(people["ann@example.com"], report_ready=ReportReady(report_id="r1"))
    await make_mailer(smtp.port).send_batch()
    clock.advance(timedelta(minutes=1))
    smtp.answers = ["451 4.7.1 Later"]
    await tell(people["ben@example.com"], invoice_issued={"number": "1", "merchant_name": "Geo Ltd"})
    await make_mailer(smtp.port).send_batch()
    clock.advance(timedelta(days=4))
    await make_mailer(smtp.port).send_batch()
    await tell(people["cora@example.com"], report_ready=ReportReady(report_id="r2"))
    after = {reason: sample("ams_mails_given_up_total", reason=reason) for reason in ("refused", "too_late")}
    assert after == {reason: count + 1 for reason, count in before.items()}

    admin = (("authorization", f"Bearer {issuer.user_token(uuid7(), ADMIN)}"),)
    asked = notifications_pb.ListUndeliveredMailsRequest(page_size=1)
    listed = await notifications.ListUndeliveredMails(asked, metadata=admin)
    [late] = listed.mails
    assert (late.recipient, late.kind, late.given_up_for) == ("ben@example.com", "invoice_issued", "too_late")
    assert (listed.waiting, listed.HasField("waiting_since")) == (1, True)
    asked.page_token = listed.next_page_token
    listed = await notifications.ListUndeliveredMails(asked, metadata=admin)
    [refused] = listed.mails
    assert (refused.recipient, refused.kind) == ("ann@example.com", "report_ready")
    assert (refused.given_up_for, refused.attempts) == ("refused", 1)
    assert refused.error == "554 5.7.1 We take no mail of yours"
    assert listed.next_page_token == ""

    consumer = UUID(people["ann@example.com"])
    for metadata in (
        (("authorization", f"Bearer {issuer.user_token(consumer)}"),),
        (),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await notifications.ListUndeliveredMails(
                notifications_pb.ListUndeliveredMailsRequest(), metadata=metadata
            )
        assert refusal.value.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)


async def test_operators_see_how_many_wait_and_since_when(
    smtp: Any,
    make_mailer: MakeMailer,
    tell: Tell,
    people: dict[str, str],
    servicer: IdentityService,
    clock: Any,
) -> None:
    for user_id in people.values():
        await tell(user_id, report_ready=ReportReady(report_id="r1"))
    clock.advance(timedelta(minutes=20))
    await measure_queue(servicer.database, clock)
    assert sample("ams_mails_waiting") == len(people)
    assert 1200 <= sample("ams_mails_oldest_seconds") < 1300
    sent = sample("ams_mails_total", outcome="sent")
    await make_mailer(smtp.port).send_batch()
    await measure_queue(servicer.database, clock)
    assert (sample("ams_mails_waiting"), sample("ams_mails_oldest_seconds")) == (0, 0)
    assert sample("ams_mails_total", outcome="sent") == sent + len(people)
