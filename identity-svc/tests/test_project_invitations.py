import hashlib
from datetime import timedelta
from typing import Any

import grpc
import pytest
from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import PROJECT_MANAGER, PROJECT_MEMBER, PROJECT_OWNER, PROJECT_VIEWER
from ams_common.ids import uuid7
from identity_svc.projects import rules
from identity_svc.retention import purge

EMAIL = "new@example.com"


async def resend(projects: Any, project_id: str, invitation_id: str, by: Any) -> pb.ProjectInvite:
    request = pb.ResendProjectInvitationRequest(project_id=project_id, invitation_id=invitation_id)
    invite: pb.ProjectInvite = await projects.stub.ResendProjectInvitation(request, metadata=by.metadata)
    return invite


async def found(projects: Any, code: str, by: Any) -> pb.ReceivedInvitation:
    request = pb.GetReceivedInvitationRequest(code=code)
    received: pb.ReceivedInvitation = await projects.stub.GetReceivedInvitation(request, metadata=by.metadata)
    return received


async def test_somebody_new_registers_and_joins_with_the_mailed_code(projects: Any) -> None:
    owner = await projects.person("Olga")
    project_id = (await projects.create(owner, "Maps")).project_id
    service_id = str(uuid7())
    invite = await projects.invite(project_id, owner, "New@Example.com", PROJECT_MEMBER, service_id)
    assert (invite.email, invite.role, invite.invited_by_name) == (EMAIL, PROJECT_MEMBER, "Olga")
    mail = await projects.identity.mail_to(EMAIL)
    assert mail["link"] == f"https://ams.example/invitations?code={mail['code']}"
    assert (mail["project_name"], mail["invited_by"]) == ("Maps", "Olga")

    person = await projects.person("New")
    received = await found(projects, mail["code"].lower().replace("-", " "), person)
    assert (received.invitation_id, received.project_name) == (invite.invitation_id, "Maps")
    listed = await projects.stub.ListReceivedInvitations(
        pb.ListReceivedInvitationsRequest(), metadata=person.metadata
    )
    assert list(listed.invitations) == [received]
    project = await projects.accept(received.invitation_id, person)
    assert (project.role, list(project.service_ids)) == (PROJECT_MEMBER, [service_id])
    assert await projects.roles(project_id, owner) == {"Olga": PROJECT_OWNER, "New": PROJECT_MEMBER}
    told = await projects.identity.told(owner.email)
    assert told[-1].project_membership_changed.change == "joined"
    error = await projects.identity.error_of(projects.accept(received.invitation_id, person))
    assert error.code == "project_invitation_not_found"


async def test_who_has_an_account_is_told_there_too_and_the_answer_is_the_same(projects: Any) -> None:
    owner, person = await projects.person("Olga"), await projects.person("Eve")
    project_id = (await projects.create(owner)).project_id
    invite = await projects.invite(project_id, owner, person.email, PROJECT_VIEWER)
    [told] = await projects.identity.told(person.email)
    assert told.project_invitation.invitation_id == invite.invitation_id
    assert await projects.identity.mail_to(person.email) is not None
    other = await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)
    assert {field.name for field, _ in invite.ListFields()} == {field.name for field, _ in other.ListFields()}


async def test_only_the_hash_of_a_code_is_kept(projects: Any) -> None:
    owner = await projects.person("Olga")
    project_id = (await projects.create(owner)).project_id
    await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)
    code = await projects.identity.code_to(EMAIL)
    [row] = await projects.identity.fetch("SELECT code_hash, t::text AS text FROM project_invitations t")
    assert row["code_hash"] == hashlib.sha256(code.replace("-", "").encode()).digest()
    assert code not in row["text"]


async def test_an_invitation_is_for_its_address_only(projects: Any) -> None:
    owner, stranger = await projects.person("Olga"), await projects.person("Sam")
    project_id = (await projects.create(owner)).project_id
    invite = await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)
    code = await projects.identity.code_to(EMAIL)
    decline = pb.DeclineProjectInvitationRequest(invitation_id=invite.invitation_id)
    for call in (
        found(projects, code, stranger),
        projects.accept(invite.invitation_id, stranger),
        projects.stub.DeclineProjectInvitation(decline, metadata=stranger.metadata),
        projects.accept(str(uuid7()), stranger),
        found(projects, "", stranger),
    ):
        error = await projects.identity.error_of(call)
        assert (error.grpc_code, error.code) == (
            grpc.StatusCode.NOT_FOUND,
            "project_invitation_not_found",
        )
    assert await projects.roles(project_id, owner) == {"Olga": PROJECT_OWNER}


async def test_it_expires_and_sent_again_it_is_good_anew_with_another_code(projects: Any, clock: Any) -> None:
    owner = await projects.person("Olga")
    project_id = (await projects.create(owner)).project_id
    invite = await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)
    old = await projects.identity.code_to(EMAIL)
    clock.advance(rules.INVITATION_TTL + timedelta(seconds=1))
    person = await projects.person("New")
    error = await projects.identity.error_of(found(projects, old, person))
    assert error.code == "project_invitation_not_found"
    again = await resend(projects, project_id, invite.invitation_id, owner)
    assert again.invitation_id == invite.invitation_id
    assert again.expires_at.ToDatetime() > invite.expires_at.ToDatetime()
    error = await projects.identity.error_of(found(projects, old, person))
    assert error.code == "project_invitation_not_found"
    code = await projects.identity.code_to(EMAIL)
    assert (await found(projects, code, person)).invitation_id == invite.invitation_id


async def test_an_invitation_is_sent_again_only_so_often(projects: Any, clock: Any) -> None:
    owner = await projects.person("Olga")
    project_id = (await projects.create(owner)).project_id
    invitation_id = (await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)).invitation_id
    error = await projects.identity.error_of(resend(projects, project_id, invitation_id, owner))
    assert error.code == "project_invitation_sent_just_now"
    for _ in range(rules.MAX_SENDINGS - 1):
        clock.advance(rules.SENDING_PAUSE)
        await resend(projects, project_id, invitation_id, owner)
    clock.advance(rules.SENDING_PAUSE)
    error = await projects.identity.error_of(resend(projects, project_id, invitation_id, owner))
    assert error.code == "project_invitation_sent_often"
    mails = await projects.identity.fetch("SELECT 1 FROM mails WHERE recipient = $1", EMAIL)
    assert len(mails) == rules.MAX_SENDINGS


async def test_what_is_revoked_or_declined_is_over(projects: Any) -> None:
    owner, person = await projects.person("Olga"), await projects.person("New")
    project_id = (await projects.create(owner)).project_id
    invite = await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)
    revoke = pb.RevokeProjectInvitationRequest(project_id=project_id, invitation_id=invite.invitation_id)
    await projects.stub.RevokeProjectInvitation(revoke, metadata=owner.metadata)
    second = await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)
    decline = pb.DeclineProjectInvitationRequest(invitation_id=second.invitation_id)
    await projects.stub.DeclineProjectInvitation(decline, metadata=person.metadata)
    for invitation_id in (invite.invitation_id, second.invitation_id):
        error = await projects.identity.error_of(projects.accept(invitation_id, person))
        assert error.code == "project_invitation_not_found"
    error = await projects.identity.error_of(
        projects.stub.RevokeProjectInvitation(revoke, metadata=owner.metadata)
    )
    assert error.code == "project_invitation_not_found"
    request = pb.ListProjectInvitationsRequest(project_id=project_id)
    listed = await projects.stub.ListProjectInvitations(request, metadata=owner.metadata)
    assert list(listed.invitations) == []


async def test_another_projects_invitation_is_not_revoked_or_sent(projects: Any, clock: Any) -> None:
    owner, other = await projects.person("Olga"), await projects.person("Otto")
    first, second = [(await projects.create(each)).project_id for each in (owner, other)]
    invitation_id = (await projects.invite(first, owner, EMAIL, PROJECT_VIEWER)).invitation_id
    clock.advance(rules.SENDING_PAUSE)
    revoke = pb.RevokeProjectInvitationRequest(project_id=second, invitation_id=invitation_id)
    for call in (
        projects.stub.RevokeProjectInvitation(revoke, metadata=other.metadata),
        resend(projects, second, invitation_id, other),
    ):
        assert (await projects.identity.error_of(call)).code == "project_invitation_not_found"


async def test_a_member_or_somebody_invited_is_not_invited_again(projects: Any) -> None:
    owner, manager = await projects.person("Olga"), await projects.person("Mo")
    project_id = (await projects.create(owner)).project_id
    await projects.join(project_id, owner, manager, PROJECT_MANAGER)
    await projects.invite(project_id, manager, EMAIL, PROJECT_VIEWER)
    for email, code in ((EMAIL, "already_invited"), ("OLGA@example.com", "already_a_project_member")):
        call = projects.invite(project_id, manager, email, PROJECT_VIEWER)
        assert (await projects.identity.error_of(call)).code == code


@pytest.mark.parametrize("bound", ["MAX_MEMBERS", "MAX_INVITATIONS_A_DAY"])
async def test_invitations_are_bounded(projects: Any, monkeypatch: Any, bound: str) -> None:
    monkeypatch.setattr(rules, bound, 2)
    owner = await projects.person("Olga")
    project_id = (await projects.create(owner)).project_id
    sent = 0
    while sent < 3:
        try:
            await projects.invite(project_id, owner, f"n{sent}@example.com", PROJECT_VIEWER)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            break
        sent += 1
    assert sent == (1 if bound == "MAX_MEMBERS" else 2)


async def test_nobody_joins_a_full_project_or_too_many(projects: Any, monkeypatch: Any) -> None:
    owner, person = await projects.person("Olga"), await projects.person("New")
    project_id = (await projects.create(owner)).project_id
    invite = await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)
    monkeypatch.setattr(rules, "MAX_MEMBERS", 1)
    error = await projects.identity.error_of(projects.accept(invite.invitation_id, person))
    assert error.code == "too_many_project_members"
    monkeypatch.setattr(rules, "MAX_JOINED", 0)
    error = await projects.identity.error_of(projects.accept(invite.invitation_id, person))
    assert error.code == "too_many_projects"
    assert await projects.roles(project_id, owner) == {"Olga": PROJECT_OWNER}


async def test_an_invitation_by_itself_makes_no_owner(projects: Any) -> None:
    owner = await projects.person("Olga")
    project_id = (await projects.create(owner)).project_id
    error = await projects.identity.error_of(projects.invite(project_id, owner, EMAIL, PROJECT_OWNER))
    assert error.code == "project_role_invalid"


async def test_old_invitations_are_purged(projects: Any, clock: Any) -> None:
    owner = await projects.person("Olga")
    project_id = (await projects.create(owner)).project_id
    await projects.invite(project_id, owner, EMAIL, PROJECT_VIEWER)
    clock.advance(rules.INVITATION_TTL + timedelta(days=89))
    await purge(projects.identity.servicer.database, clock)
    assert len(await projects.identity.fetch("SELECT 1 FROM project_invitations")) == 1
    clock.advance(timedelta(days=2))
    await purge(projects.identity.servicer.database, clock)
    assert await projects.identity.fetch("SELECT 1 FROM project_invitations") == []
