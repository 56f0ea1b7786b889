import asyncio
from typing import Any

import asyncpg
import grpc
import pytest
from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import (
    PROJECT_MANAGER,
    PROJECT_MEMBER,
    PROJECT_OWNER,
    PROJECT_VIEWER,
    ProjectChanged,
    ProjectMember,
)
from ams_common.testing.tokens import TestIssuer
from identity_svc.projects import rules


async def changes(
    projects: Any, issuer: TestIssuer, after_version: int = 0, page_size: int = 0
) -> list[ProjectChanged]:
    request = pb.ListProjectChangesRequest(after_version=after_version, page_size=page_size)
    metadata = (("authorization", f"Bearer {issuer.service_token('keys-svc')}"),)
    return list((await projects.stub.ListProjectChanges(request, metadata=metadata)).changes)


async def test_who_makes_a_project_owns_it(projects: Any) -> None:
    owner = await projects.person("Olga")
    request = pb.CreateProjectRequest(name=" Maps  and tiles ", description=" For the app. ")
    project = await projects.stub.CreateProject(request, metadata=owner.metadata)
    assert (project.name, project.description) == ("Maps and tiles", "For the app.")
    assert (project.owner_id, project.owner_name) == (owner.user_id, "Olga")
    assert (project.role, project.member_count) == (PROJECT_OWNER, 1)
    assert not project.HasField("closed_at")
    got = await projects.stub.GetProject(
        pb.GetProjectRequest(project_id=project.project_id), metadata=owner.metadata
    )
    assert got == project
    [published] = await projects.published()
    assert list(published.members) == [ProjectMember(user_id=owner.user_id, role=PROJECT_OWNER)]
    assert (published.owner_id, published.name, published.is_closed) == (
        owner.user_id,
        "Maps and tiles",
        False,
    )
    [record] = await projects.identity.audit_records("project.create")
    assert (record.actor, record.resource_id) == (owner.user_id, project.project_id)


async def test_an_idempotency_key_makes_one_project(projects: Any) -> None:
    owner = await projects.person("Olga")
    request = pb.CreateProjectRequest(name="Maps", idempotency_key="k-1")
    first = await projects.stub.CreateProject(request, metadata=owner.metadata)
    assert await projects.stub.CreateProject(request, metadata=owner.metadata) == first
    assert len(await projects.identity.fetch("SELECT 1 FROM projects")) == 1


@pytest.mark.parametrize("name", ["", " ", "a" * 81, "two\nlines", "turned\u202eround"])
async def test_a_name_is_one_line_of_plain_text(projects: Any, name: str) -> None:
    owner = await projects.person("Olga")
    error = await projects.identity.error_of(projects.create(owner, name))
    assert error.grpc_code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_manager_renames_and_all_services_hear_of_it(projects: Any) -> None:
    owner, manager = await projects.person("Olga"), await projects.person("Max")
    project_id = (await projects.create(owner)).project_id
    await projects.join(project_id, owner, manager, PROJECT_MANAGER)
    request = pb.UpdateProjectRequest(project_id=project_id, name="Tiles", description="New")
    project = await projects.stub.UpdateProject(request, metadata=manager.metadata)
    assert (project.name, project.description, project.role) == ("Tiles", "New", PROJECT_MANAGER)
    assert (await projects.published())[-1].name == "Tiles"


async def test_projects_are_listed_to_their_members_by_name(projects: Any) -> None:
    olga, other = await projects.person("Olga"), await projects.person("Otto")
    for name in ("beta", "Alpha", "gamma"):
        await projects.create(olga, name)
    await projects.join((await projects.create(other, "Delta")).project_id, other, olga, PROJECT_VIEWER)
    await projects.create(other, "Private")
    names, token = [], ""
    while True:
        request = pb.ListProjectsRequest(page_size=3, page_token=token)
        page = await projects.stub.ListProjects(request, metadata=olga.metadata)
        names += [project.name for project in page.projects]
        if not (token := page.next_page_token):
            break
    assert names == ["Alpha", "beta", "Delta", "gamma"]
    request = pb.ListProjectsRequest(order_by="created_at desc")
    newest = await projects.stub.ListProjects(request, metadata=olga.metadata)
    assert [project.name for project in newest.projects] == ["Delta", "gamma", "Alpha", "beta"]


async def test_a_closed_project_stays_to_be_seen_and_nothing_else(projects: Any) -> None:
    owner, member = await projects.person("Olga"), await projects.person("Mia")
    project_id = (await projects.create(owner)).project_id
    await projects.join(project_id, owner, member, PROJECT_MEMBER)
    invite = await projects.invite(project_id, owner, "new@example.com", PROJECT_MEMBER)
    close = pb.CloseProjectRequest(project_id=project_id)
    closed = await projects.stub.CloseProject(close, metadata=owner.metadata)
    assert closed.HasField("closed_at")
    published = (await projects.published())[-1]
    assert (published.is_closed, len(published.members)) == (True, 2)
    assert [each.project_membership_changed.change for each in await projects.identity.told(member.email)][
        -1
    ] == "closed"
    error = await projects.identity.error_of(projects.stub.CloseProject(close, metadata=owner.metadata))
    assert error.code == "project_closed"
    new = await projects.person("New")
    error = await projects.identity.error_of(projects.accept(invite.invitation_id, new))
    assert error.code == "project_invitation_not_found"
    got = await projects.stub.GetProject(
        pb.GetProjectRequest(project_id=project_id), metadata=member.metadata
    )
    assert got.HasField("closed_at")
    for with_closed, count in ((False, 0), (True, 1)):
        listed = await projects.stub.ListProjects(
            pb.ListProjectsRequest(with_closed=with_closed), metadata=member.metadata
        )
        assert len(listed.projects) == count
    await projects.stub.LeaveProject(pb.LeaveProjectRequest(project_id=project_id), metadata=member.metadata)
    assert len((await projects.published())[-1].members) == 1


async def test_one_owns_a_bounded_number_of_open_projects(projects: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(rules, "MAX_OWNED", 2)
    owner = await projects.person("Olga")
    created = await asyncio.gather(
        *[projects.create(owner, f"P{number}") for number in range(4)], return_exceptions=True
    )
    made = [each for each in created if isinstance(each, pb.Project)]
    assert len(made) == 2
    request = pb.CloseProjectRequest(project_id=made[0].project_id)
    await projects.stub.CloseProject(request, metadata=owner.metadata)
    await projects.create(owner, "P5")
    error = await projects.identity.error_of(projects.create(owner, "P6"))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_many_projects")


async def test_services_follow_each_project_once_by_its_present_state(
    projects: Any, issuer: TestIssuer
) -> None:
    owner, member = await projects.person("Olga"), await projects.person("Mia")
    first, second = [(await projects.create(owner, name)).project_id for name in ("First", "Second")]
    await projects.join(first, owner, member, PROJECT_MEMBER)
    listed = await changes(projects, issuer)
    assert [(each.project_id, len(each.members)) for each in listed] == [(second, 1), (first, 2)]
    assert await changes(projects, issuer, listed[0].version) == [listed[1]]
    assert await changes(projects, issuer, listed[1].version) == []
    assert await changes(projects, issuer, page_size=1) == [listed[0]]
    assert (await projects.published())[-1] == listed[1]
    versions = [each.version for each in await projects.published()]
    assert versions == sorted(set(versions))
    for after_version, page_size in ((-1, 0), (0, -1), (0, 31)):
        error = await projects.identity.error_of(changes(projects, issuer, after_version, page_size))
        assert error.grpc_code is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_largest_page_of_changes_fits_into_a_message(projects: Any, issuer: TestIssuer) -> None:
    """As many members, services and projects as there may be in one."""
    owner = await projects.person("Olga")
    database = projects.identity.servicer.database
    async with database.change_by_system("test", audited=False) as change:
        await change.connection.execute(
            "INSERT INTO users (user_id, email, name, created_at)"
            " SELECT gen_random_uuid(), 'u' || n || '@example.com', 'U', now() FROM generate_series(2, $1) n",
            rules.MAX_MEMBERS,
        )
        await change.connection.execute(
            "INSERT INTO projects (project_id, name, description, owner_id, created_at, version)"
            " SELECT gen_random_uuid(), repeat('n', 80), '', $1, now(), n FROM generate_series(1, 30) n",
            owner.user_id,
        )
        await change.connection.execute(
            "INSERT INTO project_members (project_id, user_id, role, service_ids, joined_at)"
            " SELECT project_id, user_id, CASE WHEN user_id = owner_id THEN 1 ELSE 3 END,"
            "  (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 50)), now()"
            " FROM projects, users"
        )
    listed = await changes(projects, issuer)
    assert [len(each.members) for each in listed] == [rules.MAX_MEMBERS] * 30


async def test_the_database_itself_knows_exactly_one_owner(projects: Any) -> None:
    owner, member = await projects.person("Olga"), await projects.person("Mia")
    project_id = (await projects.create(owner)).project_id
    await projects.join(project_id, owner, member, PROJECT_MEMBER)
    for broken in (
        "UPDATE project_members SET role = 1",
        "UPDATE project_members SET role = 2",
        "DELETE FROM project_members WHERE role = 1",
        f"UPDATE projects SET owner_id = '{member.user_id}'",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await projects.identity.fetch(broken)
    assert await projects.roles(project_id, owner) == {"Olga": PROJECT_OWNER, "Mia": PROJECT_MEMBER}
