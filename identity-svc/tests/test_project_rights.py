"""Every RPC of projects with every role, and with those who have none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import PROJECT_MANAGER, PROJECT_MEMBER, PROJECT_OWNER, PROJECT_VIEWER
from ams.policy.v1.policy_pb2 import MERCHANT, ROLE_UNSPECIFIED
from ams_common.clock import utc_now
from ams_common.errors import from_rpc_error
from ams_common.ids import uuid7
from ams_common.project_rights import RIGHTS, ProjectRight, may, roles_with
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import sign_user_token

FOLLOWERS = {"keys-svc", "usage-svc", "billing-svc", "registry-svc"}
ROLES = {
    "owner": PROJECT_OWNER,
    "manager": PROJECT_MANAGER,
    "member": PROJECT_MEMBER,
    "viewer": PROJECT_VIEWER,
}
# What each RPC about one project needs.
NEEDS: Mapping[str, ProjectRight] = {
    "GetProject": ProjectRight.SEE_PROJECT,
    "UpdateProject": ProjectRight.CHANGE_PROJECT,
    "CloseProject": ProjectRight.CLOSE_PROJECT,
    "ListProjectMembers": ProjectRight.SEE_PROJECT,
    "UpdateProjectMember": ProjectRight.CHANGE_MEMBERS,
    "RemoveProjectMember": ProjectRight.CHANGE_MEMBERS,
    "LeaveProject": ProjectRight.SEE_PROJECT,
    "OfferProject": ProjectRight.HAND_OVER,
    "WithdrawProjectOffer": ProjectRight.HAND_OVER,
    "AcceptProjectOffer": ProjectRight.SEE_PROJECT,
    "DeclineProjectOffer": ProjectRight.SEE_PROJECT,
    "CreateProjectInvitation": ProjectRight.INVITE_MEMBERS,
    "ListProjectInvitations": ProjectRight.INVITE_MEMBERS,
    "RevokeProjectInvitation": ProjectRight.INVITE_MEMBERS,
    "ResendProjectInvitation": ProjectRight.INVITE_MEMBERS,
}
# These are about no project, or about one that the caller isn't in yet.
ANY_CONSUMER = {
    "CreateProject",
    "ListProjects",
    "ListReceivedInvitations",
    "GetReceivedInvitation",
    "AcceptProjectInvitation",
    "DeclineProjectInvitation",
}


async def test_each_rpc_lets_in_whom_it_is_for(projects: Any, issuer: TestIssuer) -> None:
    descriptor = pb.DESCRIPTOR.services_by_name["ProjectService"]
    let_in = await callers_let_in(projects.channel, descriptor, issuer)
    assert let_in == {
        **{name: {"consumer"} for name in NEEDS.keys() | ANY_CONSUMER},
        "ListProjectChanges": FOLLOWERS,
    }


def test_every_right_is_the_owners_and_none_is_nobodys() -> None:
    assert RIGHTS.keys() == set(ProjectRight)
    for right in ProjectRight:
        assert may(PROJECT_OWNER, right)
        assert not may(None, right)
        assert roles_with(right) == [role for role in ROLES.values() if may(role, right)]


def test_a_role_has_all_rights_of_those_below_it() -> None:
    for right in ProjectRight:
        held = [may(role, right) for role in ROLES.values()]
        assert held == sorted(held, reverse=True)


@dataclass
class Team:
    project_id: str
    people: dict[str, Any]
    invitation_id: str


@pytest.fixture
async def team(projects: Any) -> Team:
    people = {name: await projects.person(name) for name in (*ROLES, "outsider", "other")}
    owner = people["owner"]
    project = await projects.create(owner)
    for name, role in ROLES.items():
        if name != "owner":
            await projects.join(project.project_id, owner, people[name], role)
    await projects.join(project.project_id, owner, people["other"], PROJECT_VIEWER)
    invite = await projects.invite(project.project_id, owner, "new@example.com", PROJECT_VIEWER)
    return Team(project.project_id, people, invite.invitation_id)


def request_of(method: str, team: Team) -> Any:
    """A valid request of that RPC about the team's project, and the viewer besides."""
    request: Any = getattr(pb, f"{method}Request")(project_id=team.project_id)
    values = {
        "name": "Other",
        "user_id": team.people["other"].user_id,
        "role": PROJECT_VIEWER,
        "email": "another@example.com",
        "invitation_id": team.invitation_id,
    }
    for field in values.keys() & request.DESCRIPTOR.fields_by_name.keys():
        setattr(request, field, values[field])
    return request


async def code_of(projects: Any, method: str, team: Team, metadata: Any) -> str:
    """The code of the error that the call ends with; "" for none."""
    try:
        await getattr(projects.stub, method)(request_of(method, team), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).code
    return ""


@pytest.mark.parametrize("method", NEEDS)
@pytest.mark.parametrize("role", ROLES)
async def test_a_member_may_what_the_table_says(projects: Any, team: Team, method: str, role: str) -> None:
    code = await code_of(projects, method, team, team.people[role].metadata)
    assert (code == "project_right_required") == (not may(ROLES[role], NEEDS[method]))
    assert code != "project_not_found"


@pytest.mark.parametrize("method", NEEDS)
async def test_nobody_else_learns_that_there_is_such_a_project(
    projects: Any, team: Team, method: str, issuer: TestIssuer
) -> None:
    assert await code_of(projects, method, team, team.people["outsider"].metadata) == "project_not_found"
    assert await code_of(projects, method, team, ()) == "sign_in_required"
    merchant = (("authorization", f"Bearer {issuer.user_token(uuid7(), MERCHANT)}"),)
    assert await code_of(projects, method, team, merchant) == "role_required"
    missing = Team(str(uuid7()), team.people, team.invitation_id)
    assert await code_of(projects, method, missing, team.people["owner"].metadata) == "project_not_found"
    malformed = Team("1", team.people, team.invitation_id)
    assert await code_of(projects, method, malformed, team.people["owner"].metadata) == "invalid_argument"


@pytest.mark.parametrize("method", NEEDS)
async def test_a_blocked_consumer_may_nothing(projects: Any, team: Team, method: str) -> None:
    """Whoever signs in while blocked gets a token without the role."""
    owner, identity = team.people["owner"], projects.identity
    block = identity_pb.BlockConsumerRequest(consumer_id=owner.user_id)
    await identity.stub.BlockConsumer(block, metadata=identity.admin)
    session = await identity.sign_in(owner.email)
    assert list(session.user.roles) == []
    token = sign_user_token(projects.issuer.key, UUID(owner.user_id), [], ROLE_UNSPECIFIED, utc_now())
    assert await code_of(projects, method, team, (("authorization", f"Bearer {token}"),)) == "role_required"
