"""The admins: joined by invite, dismissed, and never without one."""

import asyncio
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import team_service_pb2 as team_pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER
from ams_common.ids import uuid7
from identity_svc.accounts import appoint_admins

ADA, BOB, CLEO = "ada@example.com", "bob@example.com", "cleo@example.com"


async def appoint(identity: Any, *emails: str) -> None:
    await appoint_admins(identity.servicer.database, emails, identity.clock)


async def signed_in_admin(identity: Any, email: str) -> pb.Session:
    await appoint(identity, email)
    session: pb.Session = await identity.sign_in(email)
    return session


async def invite(identity: Any, email: str) -> str:
    request = pb.CreateInviteRequest(email=email, role=ADMIN)
    await identity.stub.CreateInvite(request, metadata=identity.admin)
    return str(await identity.code_to(email))


def join(identity: Any, session: pb.Session, code: str) -> Any:
    request = team_pb.AcceptAdminInviteRequest(invite_code=code)
    return identity.team.AcceptAdminInvite(request, metadata=identity.acting(session))


def dismiss(identity: Any, user_id: str, by: pb.Session, reason: str = "") -> Any:
    request = team_pb.DismissAdminRequest(user_id=user_id, reason=reason)
    return identity.team.DismissAdmin(request, metadata=identity.acting(by))


async def admins(identity: Any) -> list[str]:
    answer = await identity.team.ListAdmins(team_pb.ListAdminsRequest(), metadata=identity.admin)
    return [admin.email for admin in answer.admins]


async def test_who_was_invited_signs_in_and_joins(identity: Any) -> None:
    code = await invite(identity, ADA)
    mail = await identity.mail_to(ADA)
    assert mail["link"] == f"https://ams.example/team/join?invite_code={code}&email=ada%40example.com"
    session = await identity.sign_in(ADA)
    assert list(session.user.roles) == []
    joined = await join(identity, session, code)
    assert (joined.email, joined.user_id) == (ADA, session.user.user_id)
    assert await admins(identity) == [ADA]
    assert list((await identity.sign_in(ADA)).user.roles) == [ADMIN]
    [record] = await identity.audit_records("admin.join")
    [change] = record.changes
    assert (record.actor, change.field, change.after) == (session.user.user_id, "role", "admin")


async def test_an_admin_invite_is_good_for_its_address_and_once(identity: Any) -> None:
    code = await invite(identity, ADA)
    other = await identity.register_consumer(BOB)
    assert (await identity.error_of(join(identity, other, code))).code == "invite_not_valid"
    session = await identity.sign_in(ADA)
    await join(identity, session, code)
    assert (await identity.error_of(join(identity, session, code))).code == "invite_not_valid"
    assert await admins(identity) == [ADA]


async def test_a_merchants_code_makes_no_admin_and_an_admins_no_merchant(identity: Any) -> None:
    session = await identity.register_consumer(ADA)
    merchants = await identity.invite(ADA)
    assert (await identity.error_of(join(identity, session, merchants))).code == "invite_not_valid"
    admins_code = await invite(identity, ADA)
    assert (await identity.error_of(identity.start_merchant(ADA, admins_code))).code == "invite_not_valid"


async def test_a_revoked_admin_invite_lets_nobody_join(identity: Any) -> None:
    code = await invite(identity, ADA)
    session = await identity.sign_in(ADA)
    [row] = await identity.fetch("SELECT invite_id::text FROM invites")
    request = pb.RevokeInviteRequest(invite_id=row["invite_id"])
    await identity.stub.RevokeInvite(request, metadata=identity.admin)
    assert (await identity.error_of(join(identity, session, code))).code == "invite_not_valid"


async def test_consumers_are_not_invited_and_admins_not_twice(identity: Any) -> None:
    request = pb.CreateInviteRequest(email=ADA, role=CONSUMER)
    error = await identity.error_of(identity.stub.CreateInvite(request, metadata=identity.admin))
    assert error.code == "invite_role_invalid"
    await appoint(identity, ADA)
    request = pb.CreateInviteRequest(email=ADA, role=ADMIN)
    error = await identity.error_of(identity.stub.CreateInvite(request, metadata=identity.admin))
    assert error.code == "already_an_admin"


async def test_dismissing_takes_the_role_and_ends_the_sessions(identity: Any) -> None:
    ada, bob = await signed_in_admin(identity, ADA), await signed_in_admin(identity, BOB)
    dismissed = await dismiss(identity, bob.user.user_id, ada, "left the company")
    assert dismissed.email == BOB
    assert await admins(identity) == [ADA]
    refresh = pb.RefreshSessionRequest(refresh_token=bob.refresh_token)
    error = await identity.error_of(identity.stub.RefreshSession(refresh))
    assert error.code == "refresh_token_invalid"
    assert list((await identity.sign_in(BOB)).user.roles) == []
    [record] = await identity.audit_records("admin.dismiss")
    assert (record.actor, record.resource_id) == (ada.user.user_id, bob.user.user_id)
    assert record.details["reason"] == "left the company"


async def test_other_roles_stay_with_who_is_dismissed(identity: Any) -> None:
    await identity.register_consumer(BOB)
    ada, bob = await signed_in_admin(identity, ADA), await signed_in_admin(identity, BOB)
    await dismiss(identity, bob.user.user_id, ada)
    assert list((await identity.sign_in(BOB)).user.roles) == [CONSUMER]


async def test_the_last_admin_stays(identity: Any) -> None:
    ada = await signed_in_admin(identity, ADA)
    error = await identity.error_of(dismiss(identity, ada.user.user_id, ada))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.FAILED_PRECONDITION, "last_admin")
    assert await admins(identity) == [ADA]


@pytest.mark.parametrize("target", ["each other", "oneself"])
async def test_however_admins_are_dismissed_at_once_one_stays(identity: Any, target: str) -> None:
    emails = [f"a{number}@example.com" for number in range(6)]
    sessions = [await signed_in_admin(identity, email) for email in emails]
    victims = sessions if target == "oneself" else [*sessions[1:], sessions[0]]
    outcomes = await asyncio.gather(
        *(dismiss(identity, victim.user.user_id, by) for victim, by in zip(victims, sessions, strict=True)),
        return_exceptions=True,
    )
    left = await admins(identity)
    assert len(left) >= 1
    assert len(left) == sum(isinstance(outcome, Exception) for outcome in outcomes)


async def test_who_was_dismissed_a_moment_ago_dismisses_nobody(identity: Any) -> None:
    ada, bob = await signed_in_admin(identity, ADA), await signed_in_admin(identity, BOB)
    cleo = await signed_in_admin(identity, CLEO)
    await dismiss(identity, bob.user.user_id, ada)
    error = await identity.error_of(dismiss(identity, cleo.user.user_id, bob))
    assert error.grpc_code == grpc.StatusCode.PERMISSION_DENIED
    assert await admins(identity) == [ADA, CLEO]


async def test_who_is_no_admin_is_not_found(identity: Any) -> None:
    ada = await signed_in_admin(identity, ADA)
    cora = await identity.register_consumer("cora@example.com")
    for user_id in (cora.user.user_id, str(uuid7())):
        error = await identity.error_of(dismiss(identity, user_id, ada))
        assert error.code == "admin_not_found"
    assert (await identity.error_of(dismiss(identity, "x", ada))).code == "invalid_argument"


async def test_a_restart_brings_nobody_back_who_was_dismissed(identity: Any) -> None:
    ada, bob = await signed_in_admin(identity, ADA), await signed_in_admin(identity, BOB)
    await dismiss(identity, bob.user.user_id, ada)
    await appoint(identity, ADA, BOB)
    assert await admins(identity) == [ADA]
    session = await identity.sign_in(BOB)
    await join(identity, session, await invite(identity, BOB))
    assert await admins(identity) == [ADA, BOB]
    await dismiss(identity, ada.user.user_id, await identity.sign_in(BOB))
    await appoint(identity, ADA, BOB)
    assert await admins(identity) == [BOB]


async def test_without_any_admin_the_settings_are_believed_again(identity: Any) -> None:
    ada, bob = await signed_in_admin(identity, ADA), await signed_in_admin(identity, BOB)
    await dismiss(identity, bob.user.user_id, ada)
    async with identity.servicer.database.change_by_system("test", audited=False) as change:
        await change.connection.execute("DELETE FROM user_roles WHERE user_id = $1", UUID(ada.user.user_id))
    await appoint(identity, BOB)
    assert await admins(identity) == [BOB]
