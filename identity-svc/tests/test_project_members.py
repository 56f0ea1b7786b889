import asyncio
from typing import Any

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import (
    PROJECT_MANAGER,
    PROJECT_MEMBER,
    PROJECT_OWNER,
    PROJECT_ROLE_UNSPECIFIED,
    PROJECT_VIEWER,
    ProjectRole,
)
from ams_common.ids import uuid7


class Team:
    """A project with an owner, a manager, a member and a viewer."""

    def __init__(self, projects: Any, project_id: str, people: dict[str, Any]) -> None:
        self.projects = projects
        self.project_id = project_id
        self.owner, self.manager, self.member, self.viewer = people.values()

    async def update(self, by: Any, who: Any, role: ProjectRole.ValueType, *service_ids: str) -> Any:
        request = pb.UpdateProjectMemberRequest(
            project_id=self.project_id, user_id=who.user_id, role=role, service_ids=service_ids
        )
        return await self.projects.stub.UpdateProjectMember(request, metadata=by.metadata)

    async def remove(self, by: Any, who: Any) -> Any:
        request = pb.RemoveProjectMemberRequest(project_id=self.project_id, user_id=who.user_id)
        return await self.projects.stub.RemoveProjectMember(request, metadata=by.metadata)

    async def leave(self, who: Any) -> None:
        request = pb.LeaveProjectRequest(project_id=self.project_id)
        await self.projects.stub.LeaveProject(request, metadata=who.metadata)

    async def offer(self, to: Any) -> Any:
        request = pb.OfferProjectRequest(project_id=self.project_id, user_id=to.user_id)
        return await self.projects.stub.OfferProject(request, metadata=self.owner.metadata)

    async def answer(self, rpc: str, who: Any) -> Any:
        request = getattr(pb, f"{rpc}Request")(project_id=self.project_id)
        return await getattr(self.projects.stub, rpc)(request, metadata=who.metadata)

    async def code_of(self, call: Any) -> str:
        return str((await self.projects.identity.error_of(call)).code)

    async def roles(self) -> dict[str, ProjectRole.ValueType]:
        roles: dict[str, ProjectRole.ValueType] = await self.projects.roles(self.project_id, self.owner)
        return roles

    async def last_told(self, who: Any) -> str:
        told = await self.projects.identity.told(who.email)
        return str(told[-1].project_membership_changed.change)


ROLES = {"Mo": PROJECT_MANAGER, "Mia": PROJECT_MEMBER, "Vic": PROJECT_VIEWER}


@pytest.fixture
async def team(projects: Any) -> Team:
    people = {name: await projects.person(name) for name in ("Olga", *ROLES)}
    project_id = (await projects.create(people["Olga"])).project_id
    for name, role in ROLES.items():
        await projects.join(project_id, people["Olga"], people[name], role)
    return Team(projects, project_id, people)


async def test_members_are_listed_by_role_to_every_member(team: Team) -> None:
    expected = {"Olga": PROJECT_OWNER, **ROLES}
    for person in (team.owner, team.manager, team.member, team.viewer):
        assert list((await team.projects.roles(team.project_id, person)).items()) == list(expected.items())


async def test_a_manager_gives_any_role_up_to_their_own_and_services(team: Team) -> None:
    service_ids = sorted(str(uuid7()) for _ in range(2))
    changed = await team.update(team.manager, team.viewer, PROJECT_MANAGER, *service_ids, service_ids[0])
    assert (changed.role, list(changed.service_ids)) == (PROJECT_MANAGER, service_ids)
    published = (await team.projects.published())[-1]
    [member] = [each for each in published.members if each.user_id == team.viewer.user_id]
    assert (member.role, list(member.service_ids)) == (PROJECT_MANAGER, service_ids)
    assert await team.last_told(team.viewer) == "role_changed"
    records = await team.projects.identity.audit_records("project.update_member")
    assert dict(records[-1].details) == {"member": team.viewer.user_id, "role": "project_manager"}


@pytest.mark.parametrize(
    ("role", "code"),
    [(PROJECT_OWNER, "project_role_invalid"), (PROJECT_ROLE_UNSPECIFIED, "invalid_argument")],
)
async def test_nobody_is_made_an_owner_or_nothing(team: Team, role: ProjectRole.ValueType, code: str) -> None:
    for by in (team.owner, team.manager):
        assert await team.code_of(team.update(by, team.member, role)) == code


async def test_the_owner_stays_whatever_a_manager_tries(team: Team) -> None:
    assert await team.code_of(team.update(team.manager, team.owner, PROJECT_VIEWER)) == "project_owner_stays"
    assert await team.code_of(team.remove(team.manager, team.owner)) == "project_owner_stays"
    assert await team.code_of(team.leave(team.owner)) == "project_owner_stays"
    assert (await team.roles())["Olga"] == PROJECT_OWNER


async def test_who_is_removed_is_out_at_once_with_the_invitations_that_they_sent(team: Team) -> None:
    invite = await team.projects.invite(team.project_id, team.manager, "friend@example.com", PROJECT_VIEWER)
    project = await team.remove(team.owner, team.manager)
    assert project.member_count == 3
    assert await team.code_of(team.remove(team.manager, team.viewer)) == "project_not_found"
    published = (await team.projects.published())[-1]
    assert team.manager.user_id not in [each.user_id for each in published.members]
    assert await team.last_told(team.manager) == "removed"
    friend = await team.projects.person("Friend")
    error = team.projects.accept(invite.invitation_id, friend)
    assert await team.code_of(error) == "project_invitation_not_found"
    assert await team.code_of(team.remove(team.owner, team.manager)) == "project_member_not_found"


async def test_one_leaves_by_leaving(team: Team) -> None:
    assert await team.code_of(team.remove(team.manager, team.manager)) == "project_member_is_you"
    await team.leave(team.member)
    assert "Mia" not in await team.roles()
    assert await team.last_told(team.owner) == "left"
    assert await team.code_of(team.leave(team.member)) == "project_not_found"


async def test_a_member_accepts_and_pays_from_then_on(team: Team) -> None:
    offered = await team.offer(team.member)
    assert offered.offered_to_id == team.member.user_id
    assert await team.last_told(team.member) == "offered"
    before = len(await team.projects.published())
    accepted = await team.answer("AcceptProjectOffer", team.member)
    assert (accepted.role, accepted.owner_id, accepted.offered_to_id) == (
        PROJECT_OWNER,
        team.member.user_id,
        "",
    )
    published = await team.projects.published()
    assert (len(published), published[-1].owner_id) == (before + 1, team.member.user_id)
    assert await team.roles() == {
        "Mia": PROJECT_OWNER,
        "Mo": PROJECT_MANAGER,
        "Olga": PROJECT_MANAGER,
        "Vic": PROJECT_VIEWER,
    }
    assert await team.last_told(team.owner) == "handed_over"
    assert await team.code_of(team.answer("AcceptProjectOffer", team.member)) == "project_offer_not_found"


async def test_only_whom_it_is_offered_to_can_take_it(team: Team) -> None:
    assert await team.code_of(team.answer("AcceptProjectOffer", team.manager)) == "project_offer_not_found"
    await team.offer(team.member)
    for rpc in ("AcceptProjectOffer", "DeclineProjectOffer"):
        assert await team.code_of(team.answer(rpc, team.manager)) == "project_offer_not_found"
        assert await team.code_of(team.answer(rpc, team.owner)) == "project_offer_not_found"
    assert await team.code_of(team.offer(team.owner)) == "project_owner_stays"


@pytest.mark.parametrize("ending", ["decline", "withdraw", "leave", "remove", "offer"])
async def test_an_offer_ends(team: Team, ending: str) -> None:
    await team.offer(team.member)
    match ending:
        case "decline":
            assert (await team.answer("DeclineProjectOffer", team.member)).offered_to_id == ""
        case "withdraw":
            assert (await team.answer("WithdrawProjectOffer", team.owner)).offered_to_id == ""
        case "leave":
            await team.leave(team.member)
        case "remove":
            await team.remove(team.manager, team.member)
        case "offer":
            await team.offer(team.viewer)
    code = await team.code_of(team.answer("AcceptProjectOffer", team.member))
    assert code in ("project_offer_not_found", "project_not_found")
    assert (await team.roles())["Olga"] == PROJECT_OWNER


async def test_a_blocked_consumer_takes_no_project_with_an_older_token(team: Team) -> None:
    await team.offer(team.member)
    identity = team.projects.identity
    block = identity_pb.BlockConsumerRequest(consumer_id=team.member.user_id)
    await identity.stub.BlockConsumer(block, metadata=identity.admin)
    assert await team.code_of(team.answer("AcceptProjectOffer", team.member)) == "consumer_blocked"


async def test_of_all_that_happens_at_once_exactly_one_owner_comes_out(team: Team) -> None:
    for _ in range(5):
        await team.offer(team.member)
        results = await asyncio.gather(
            team.answer("AcceptProjectOffer", team.member),
            team.answer("AcceptProjectOffer", team.member),
            team.answer("WithdrawProjectOffer", team.owner),
            team.offer(team.viewer),
            team.remove(team.manager, team.member),
            team.leave(team.member),
            return_exceptions=True,
        )
        errors = [each for each in results if isinstance(each, Exception)]
        assert all(isinstance(each, grpc.aio.AioRpcError) for each in errors)
        codes = {each.code() for each in errors if isinstance(each, grpc.aio.AioRpcError)}
        assert codes <= {
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.FAILED_PRECONDITION,
            grpc.StatusCode.PERMISSION_DENIED,
        }
        rows = await team.projects.identity.fetch(
            "SELECT user_id = owner_id AS pays FROM project_members JOIN projects USING (project_id)"
            " WHERE role = 1"
        )
        assert [row["pays"] for row in rows] == [True]
        roles = await team.projects.roles(team.project_id, team.manager)
        if roles.get("Olga") != PROJECT_OWNER:
            break
        if "Mia" not in roles:
            await team.projects.join(team.project_id, team.owner, team.member, PROJECT_MEMBER)


async def test_a_removal_and_a_promotion_at_once_leave_no_rights_behind(team: Team) -> None:
    """Whoever waited for the project's lock must see that they are out."""
    await asyncio.gather(
        team.remove(team.owner, team.manager),
        *[team.update(team.manager, team.viewer, PROJECT_MANAGER) for _ in range(5)],
        return_exceptions=True,
    )
    assert "Mo" not in await team.roles()
    assert await team.code_of(team.update(team.manager, team.viewer, PROJECT_MEMBER)) == "project_not_found"
