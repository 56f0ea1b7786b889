"""What people find in the list of their account, and which way they choose to be told."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.identity.v1 import notifications_service_pb2 as pb
from ams.identity.v1.notifications_pb2 import (
    AccessRequested,
    KeyExposed,
    ListingSubmitted,
    Notification,
    ProjectInvitation,
    ReportReady,
)
from ams.identity.v1.notifications_service_pb2_grpc import NotificationsServiceStub
from ams_common import topics
from ams_common.clock import to_timestamp
from ams_common.errors import InvalidArgumentError, NotFoundError, UnauthenticatedError
from ams_common.paging import PageRequest
from ams_common.testing.plugin import Serve
from identity_svc.event_handlers import NotificationHandler
from identity_svc.notifications.store import NotificationStore
from identity_svc.notifications.unsubscribing import Subscription, subscription_of
from identity_svc.retention import purge
from identity_svc.rpc import IdentityService, services_of
from identity_svc.vault import Vault

Tell = Callable[..., Awaitable[None]]
READY = ReportReady(report_id="r", first_day="2026-11-01", last_day="2026-11-30")


@dataclass(frozen=True)
class Person:
    user_id: str
    email: str
    metadata: tuple[tuple[str, str]]


@pytest.fixture
async def stub(servicer: IdentityService, serve_rpc: Serve) -> NotificationsServiceStub:
    [channel] = [
        await serve_rpc(service, add)
        for service, add in services_of(servicer)
        if service.name == "NotificationsService"
    ]
    return NotificationsServiceStub(channel)


@pytest.fixture
async def cora(identity: Any) -> Person:
    return await registered(identity, "cora@example.com")


@pytest.fixture
async def otto(identity: Any) -> Person:
    return await registered(identity, "otto@example.com")


async def registered(identity: Any, email: str) -> Person:
    session = await identity.register_consumer(email)
    async with identity.servicer.database.connection() as connection:
        await connection.execute("DELETE FROM mails")
    return Person(session.user.user_id, email, identity.acting(session))


@pytest.fixture
def tell(servicer: IdentityService, clock: Any) -> Tell:
    handler = NotificationHandler(servicer.mail_queue, clock)

    async def handle(*notifications: Notification) -> None:
        async with servicer.database.change_by_system("consume", audited=False) as change:
            await handler(change, notifications)

    return handle


def told(person: Person | None, **message: Any) -> Notification:
    return Notification(
        notification_id=str(uuid4()),
        user_id=person.user_id if person else "",
        **(message or {"report_ready": READY}),
    )


async def listed(stub: Any, person: Person, **asked: Any) -> Any:
    return await stub.ListNotifications(pb.ListNotificationsRequest(**asked), metadata=person.metadata)


async def unread(stub: Any, person: Person) -> int:
    answer = await stub.GetUnreadCount(pb.GetUnreadCountRequest(), metadata=person.metadata)
    return int(answer.unread)


async def choose(stub: Any, person: Person, category: Any, *, by_mail: bool, in_app: bool) -> Any:
    choice = pb.NotificationChoice(category=category, by_mail=by_mail, in_app=in_app)
    request = pb.UpdateChoicesRequest(choices=[choice])
    return await stub.UpdateChoices(request, metadata=person.metadata)


async def test_each_finds_what_was_told_to_them_and_nothing_else(
    stub: Any, tell: Tell, cora: Person, otto: Person
) -> None:
    await tell(
        told(cora), told(otto, key_exposed=KeyExposed(key_id="k", key_name="mine", key_prefix="ams_live_1"))
    )
    [ready] = (await listed(stub, cora)).notifications
    assert (ready.kind, ready.category, ready.path) == ("report_ready", pb.NOTIFY_REPORTS, "/reports/r")
    assert ready.title == "Your usage report is ready"
    assert not ready.HasField("read_at")
    [exposed] = (await listed(stub, otto)).notifications
    assert exposed.title == "Your API key mine was found in public"


async def test_lists_go_on_and_are_narrowed(stub: Any, tell: Tell, clock: Any, cora: Person) -> None:
    for number in range(5):
        clock.advance(timedelta(minutes=1))
        await tell(told(cora, report_ready=ReportReady(report_id=f"r{number}")))
    await tell(told(cora, key_exposed=KeyExposed(key_id="k")))
    first = await listed(stub, cora, page_size=3, category=pb.NOTIFY_REPORTS)
    rest = await listed(stub, cora, page_size=3, category=pb.NOTIFY_REPORTS, page_token=first.next_page_token)
    paths = [each.path for each in (*first.notifications, *rest.notifications)]
    assert paths == [f"/reports/r{number}" for number in (4, 3, 2, 1, 0)]
    assert rest.next_page_token == ""
    ids = [each.notification_id for each in first.notifications]
    await stub.MarkRead(pb.MarkReadRequest(notification_ids=ids), metadata=cora.metadata)
    left = await listed(stub, cora, unread_only=True)
    assert {each.notification_id for each in left.notifications}.isdisjoint(ids)
    assert len(left.notifications) == await unread(stub, cora) == 3


async def test_marking_touches_only_ones_own(
    stub: Any, identity: Any, tell: Tell, cora: Person, otto: Person
) -> None:
    await tell(told(cora), told(cora))
    ids = [each.notification_id for each in (await listed(stub, cora)).notifications]
    # To somebody else they are as unknown as any other.
    await stub.MarkRead(pb.MarkReadRequest(notification_ids=ids), metadata=otto.metadata)
    until = to_timestamp(identity.clock())
    await stub.MarkAllRead(pb.MarkAllReadRequest(until=until), metadata=otto.metadata)
    assert await unread(stub, cora) == 2
    marked = await stub.MarkRead(
        pb.MarkReadRequest(notification_ids=[*ids[:1], str(uuid4())]), metadata=cora.metadata
    )
    assert marked.unread == 1
    [record] = await identity.audit_records("notifications.mark_read")
    assert (record.actor, record.details["marked"]) == (cora.user_id, "1")


async def test_what_came_after_the_list_was_looked_at_stays_unread(
    stub: Any, tell: Tell, clock: Any, cora: Person
) -> None:
    await tell(told(cora))
    looked_at = clock()
    clock.advance(timedelta(seconds=1))
    await tell(told(cora))
    request = pb.MarkAllReadRequest(until=to_timestamp(looked_at))
    assert (await stub.MarkAllRead(request, metadata=cora.metadata)).unread == 1


async def test_unread_ones_are_counted_up_to_a_hundred(stub: Any, tell: Tell, cora: Person) -> None:
    await tell(*(told(cora) for _ in range(103)))
    assert await unread(stub, cora) == 100


@pytest.mark.parametrize(
    "request_of",
    [
        lambda stub, who: stub.MarkRead(pb.MarkReadRequest(notification_ids=["none"]), metadata=who),
        lambda stub, who: stub.MarkRead(pb.MarkReadRequest(), metadata=who),
        lambda stub, who: stub.MarkAllRead(pb.MarkAllReadRequest(), metadata=who),
        lambda stub, who: stub.ListNotifications(
            pb.ListNotificationsRequest(page_token="x"),
            metadata=who,
        ),
    ],
)
async def test_what_is_malformed_is_refused(stub: Any, identity: Any, cora: Person, request_of: Any) -> None:
    assert isinstance(await identity.error_of(request_of(stub, cora.metadata)), InvalidArgumentError)


async def test_nobody_has_no_list(stub: Any, identity: Any) -> None:
    error = await identity.error_of(stub.ListNotifications(pb.ListNotificationsRequest()))
    assert isinstance(error, UnauthenticatedError)


async def test_all_admins_are_told_what_is_for_them(
    stub: Any, identity: Any, servicer: IdentityService, tell: Tell, cora: Person, otto: Person
) -> None:
    async with servicer.database.connection() as connection:
        await connection.execute(
            "INSERT INTO user_roles (user_id, role, granted_at) SELECT user_id, 'admin', now() FROM users"
            " WHERE email = $1",
            cora.email,
        )
    asked = told(None, access_requested=AccessRequested(access_request_id="a", service_name="Weather"))
    submitted = told(None, listing_submitted=ListingSubmitted(service_id="s", service_name="Maps"))
    await tell(asked, submitted, asked)
    paths = {each.path for each in (await listed(stub, cora)).notifications}
    assert paths == {"/admin", "/admin/services/s"}
    assert (await listed(stub, otto)).notifications == []
    assert await identity.mail_to(cora.email) is not None


async def test_what_only_admins_decide_is_told_to_nobody_else_by_mistake(tell: Tell, cora: Person) -> None:
    with pytest.raises(ValueError):
        await tell(told(None, report_ready=READY))


@pytest.mark.parametrize(("by_mail", "in_app"), [(True, True), (True, False), (False, True), (False, False)])
async def test_each_is_told_as_they_have_chosen(
    stub: Any, identity: Any, tell: Tell, cora: Person, otto: Person, by_mail: bool, in_app: bool
) -> None:
    await choose(stub, cora, pb.NOTIFY_REPORTS, by_mail=by_mail, in_app=in_app)
    await tell(told(cora), told(otto))
    assert (await identity.mail_to(cora.email) is not None) == by_mail
    assert bool((await listed(stub, cora)).notifications) == in_app
    # Somebody else's choice changes nothing.
    assert await identity.mail_to(otto.email) is not None
    assert len((await listed(stub, otto)).notifications) == 1


async def test_an_invitation_to_a_project_has_a_mail_of_its_own(
    stub: Any, identity: Any, tell: Tell, cora: Person
) -> None:
    await tell(told(cora, project_invitation=ProjectInvitation(project_name="P", invited_by="Otto")))
    assert await identity.mail_to(cora.email) is None
    assert len((await listed(stub, cora)).notifications) == 1


async def test_choices_are_kept_and_the_others_stay(stub: Any, identity: Any, cora: Person) -> None:
    before = await stub.GetChoices(pb.GetChoicesRequest(), metadata=cora.metadata)
    assert [each.category for each in before.choices] == list(range(1, len(before.choices) + 1))
    assert all(each.by_mail and each.in_app for each in before.choices)
    assert {each.category for each in before.choices if each.is_required} == {
        pb.NOTIFY_SECURITY,
        pb.NOTIFY_BILLING,
    }
    await choose(stub, cora, pb.NOTIFY_KEYS, by_mail=False, in_app=True)
    after = await choose(stub, cora, pb.NOTIFY_ALERTS, by_mail=True, in_app=False)
    changed = {each.category: (each.by_mail, each.in_app) for each in after.choices}
    assert changed[pb.NOTIFY_KEYS] == (False, True)
    assert changed[pb.NOTIFY_ALERTS] == (True, False)
    assert changed[pb.NOTIFY_PROJECTS] == (True, True)
    assert len(await identity.audit_records("notifications.choose")) == 2


@pytest.mark.parametrize(
    ("choices", "code"),
    [
        ([(pb.NOTIFY_SECURITY, False, True)], "category_required"),
        ([(pb.NOTIFY_BILLING, True, False)], "category_required"),
        ([(pb.NOTIFY_KEYS, True, True), (pb.NOTIFY_KEYS, False, True)], "category_twice"),
        ([(77, True, True)], "invalid_argument"),
        ([(0, True, True)], "invalid_argument"),
        ([], "invalid_argument"),
    ],
)
async def test_choices_that_cannot_be_are_refused(
    stub: Any, identity: Any, cora: Person, choices: Any, code: str
) -> None:
    asked = [pb.NotificationChoice(category=c, by_mail=m, in_app=a) for c, m, a in choices]
    request = pb.UpdateChoicesRequest(choices=asked)
    error = await identity.error_of(stub.UpdateChoices(request, metadata=cora.metadata))
    assert error.code == code


async def test_a_mails_link_turns_its_category_off_without_signing_in_and_no_other(
    stub: Any, identity: Any, tell: Tell, cora: Person, otto: Person
) -> None:
    await tell(told(cora))
    mail = await identity.mail_to(cora.email)
    token = mail["unsubscribe_link"].removeprefix("https://ams.example/unsubscribe/")
    looked_at = await stub.GetUnsubscription(pb.GetUnsubscriptionRequest(token=token))
    assert looked_at.category == pb.NOTIFY_REPORTS
    for _ in range(2):  # a mail program may send it again
        answer = await stub.Unsubscribe(pb.UnsubscribeRequest(token=token))
        assert answer.category == pb.NOTIFY_REPORTS
    choices = (await stub.GetChoices(pb.GetChoicesRequest(), metadata=cora.metadata)).choices
    assert [each.category for each in choices if not each.by_mail] == [pb.NOTIFY_REPORTS]
    assert all(each.in_app for each in choices)
    others = (await stub.GetChoices(pb.GetChoicesRequest(), metadata=otto.metadata)).choices
    assert all(each.by_mail for each in others)


async def test_a_mail_that_cannot_be_turned_off_has_no_link(identity: Any, tell: Tell, cora: Person) -> None:
    await tell(told(cora, key_exposed=KeyExposed(key_id="k", key_name="mine")))
    assert (await identity.mail_to(cora.email))["unsubscribe_link"] == ""


async def test_nobody_can_make_such_a_link(stub: Any, identity: Any, cora: Person, servicer: Any) -> None:
    vault: Vault = servicer.vault
    good = Subscription(uuid4(), pb.NOTIFY_KEYS).token(vault)
    assert subscription_of(good, vault).category == pb.NOTIFY_KEYS
    forged = [
        good[:-2] + "AA",
        "none",
        "ü" * 20,
        vault.seal(b"[]").decode(),
        vault.seal(b'{"code": "123456"}').decode(),
        vault.seal(b'["unsubscribe", "nobody", 5]').decode(),
        Subscription(uuid4(), pb.NOTIFY_SECURITY).token(vault),
    ]
    for token in forged:
        error = await identity.error_of(stub.Unsubscribe(pb.UnsubscribeRequest(token=token)))
        assert isinstance(error, NotFoundError), token


async def test_what_was_read_goes_after_a_while_and_what_was_not_stays_longer(
    stub: Any, servicer: Any, tell: Tell, clock: Any, cora: Person
) -> None:
    await tell(told(cora), told(cora))
    ids = [each.notification_id for each in (await listed(stub, cora)).notifications]
    await stub.MarkRead(pb.MarkReadRequest(notification_ids=ids[:1]), metadata=cora.metadata)
    clock.advance(timedelta(days=91))
    await purge(servicer.database, clock)
    assert [each.notification_id for each in (await listed(stub, cora)).notifications] == ids[1:]
    clock.advance(timedelta(days=275))
    await purge(servicer.database, clock)
    assert (await listed(stub, cora)).notifications == []


async def test_lists_and_counts_are_answered_from_an_index(servicer: Any, cora: Person) -> None:
    async with servicer.database.connection() as connection:
        # Of a table without rows the server would rather read all than look anything up.
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        queries = NotificationStore.queries
        plans = [
            await queries.explain_page(connection, name, PageRequest(), user_id=cora.user_id, category=None)
            for name in ("list_notifications", "list_unread")
        ]
        plans.append(await queries.explain(connection, "count_unread", user_id=cora.user_id, most=100))
    assert all("Index" in plan and "Sort" not in plan for plan in plans)


async def test_whose_standing_changes_is_told_so(identity: Any, cora: Person) -> None:
    block = identity_pb.BlockConsumerRequest(consumer_id=cora.user_id, reason="Abuse")
    await identity.stub.BlockConsumer(block, metadata=identity.admin)
    unblock = identity_pb.UnblockConsumerRequest(consumer_id=cora.user_id)
    await identity.stub.UnblockConsumer(unblock, metadata=identity.admin)
    rows = await identity.fetch(
        "SELECT payload FROM outbox WHERE topic = $1 ORDER BY outbox_id", topics.NOTIFICATIONS
    )
    said = [Notification.FromString(row["payload"]) for row in rows]
    assert {each.user_id for each in said} == {cora.user_id}
    changes = [each.standing_changed for each in said]
    assert [(each.role, each.standing, each.reason) for each in changes] == [
        ("consumer", "blocked", "Abuse"),
        ("consumer", "active", ""),
    ]
