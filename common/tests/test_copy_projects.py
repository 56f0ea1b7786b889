"""A service's copy of projects: whatever comes by two ways, in whatever order, the newest is in force."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from ams.identity.v1.events_pb2 import (
    PROJECT_MANAGER,
    PROJECT_MEMBER,
    PROJECT_OWNER,
    PROJECT_VIEWER,
    IdentityEvent,
    ProjectChanged,
    ProjectMember,
)
from ams_common.database import Database
from ams_common.errors import NotFoundError, PermissionDeniedError
from ams_common.ids import uuid7
from ams_common.project_rights import ProjectRight
from ams_common.projects import (
    Member,
    Project,
    ProjectUpdate,
    find_membership,
    projects_of,
    require_right,
    save_projects,
)
from ams_common.testing.projects import a_project
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

OWNER, MEMBER, VIEWER = (UUID(int=number) for number in (1, 2, 3))
IDS = [UUID(int=number) for number in (11, 12, 13)]


async def save(database: Database[Any], projects: Sequence[Project]) -> Sequence[ProjectUpdate]:
    async with database.change_by_system("test", audited=False) as change:
        return await save_projects(change.connection, projects)


async def members(database: Database[Any], project_id: UUID) -> dict[UUID, int]:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT user_id, role FROM project_members WHERE project_id = $1", project_id
        )
    return {row["user_id"]: row["role"] for row in rows}


async def test_what_has_changed_is_told_with_who_has_left(database: Database[Any]) -> None:
    project_id = IDS[0]
    first = a_project(OWNER, {MEMBER: PROJECT_MEMBER, VIEWER: PROJECT_VIEWER}, project_id=project_id)
    [update] = await save(database, [first])
    assert (update.before, update.after, update.left) == (None, first, frozenset())
    second = a_project(OWNER, {VIEWER: PROJECT_MANAGER}, project_id=project_id, version=2)
    [update] = await save(database, [second])
    assert (update.before, update.after, update.left) == (first, second, frozenset({MEMBER}))
    assert await save(database, [first, second]) == []
    assert await members(database, project_id) == {OWNER: PROJECT_OWNER, VIEWER: PROJECT_MANAGER}


STATES = st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 6)), min_size=1, max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STATES, min_size=1, max_size=4))
async def test_the_newest_is_kept_whatever_the_order(
    database: Database[Any], batches: list[list[tuple[UUID, int]]]
) -> None:
    async with database.connection() as connection:
        await connection.execute("TRUNCATE projects, project_members")
    for batch in batches:
        await save(
            database,
            [
                a_project(OWNER, {UUID(int=100 + version): PROJECT_VIEWER}, project_id=each, version=version)
                for each, version in batch
            ],
        )
    for project_id in IDS:
        versions = [version for batch in batches for each, version in batch if each == project_id]
        expected = {OWNER: PROJECT_OWNER, UUID(int=100 + max(versions)): PROJECT_VIEWER} if versions else {}
        assert await members(database, project_id) == expected


async def test_two_ways_at_once_neither_wait_for_each_other_nor_lose_anything(
    database: Database[Any],
) -> None:
    def states(order: Sequence[UUID]) -> list[Project]:
        return [
            a_project(OWNER, {UUID(int=100 + n): PROJECT_MEMBER}, project_id=each, version=n)
            for n in range(1, 8)
            for each in order
        ]

    await asyncio.gather(*[save(database, states(order)) for order in (IDS, IDS[::-1], IDS[1:], IDS[:2])])
    for project_id in IDS:
        assert await members(database, project_id) == {OWNER: PROJECT_OWNER, UUID(int=107): PROJECT_MEMBER}


async def test_a_right_is_that_of_the_members_role(database: Database[Any]) -> None:
    project = a_project(OWNER, {VIEWER: PROJECT_VIEWER}, is_closed=True)
    await save(database, [project])
    async with database.connection() as connection:
        membership = await require_right(connection, project.project_id, OWNER, ProjectRight.CLOSE_PROJECT)
        assert (membership.owner_id, membership.is_closed) == (OWNER, True)
        assert await find_membership(connection, project.project_id, MEMBER) is None
        with pytest.raises(PermissionDeniedError):
            await require_right(connection, project.project_id, VIEWER, ProjectRight.CREATE_KEYS)
        for project_id, user_id in ((project.project_id, MEMBER), (uuid7(), OWNER)):
            with pytest.raises(NotFoundError):
                await require_right(connection, project_id, user_id, ProjectRight.SEE_PROJECT)


def test_a_member_may_use_all_services_or_those_that_are_named() -> None:
    some, other = uuid7(), uuid7()
    assert Member(PROJECT_MEMBER).may_use(some)
    assert Member(PROJECT_MEMBER, frozenset({some})).may_use(some)
    assert not Member(PROJECT_MEMBER, frozenset({some})).may_use(other)


@pytest.mark.parametrize(
    "changed",
    [
        ProjectChanged(project_id="1", owner_id=str(OWNER), version=1),
        ProjectChanged(project_id=str(IDS[0]), owner_id="", version=1),
        ProjectChanged(
            project_id=str(IDS[0]), owner_id=str(OWNER), members=[ProjectMember(user_id=str(OWNER))]
        ),
        ProjectChanged(
            project_id=str(IDS[0]),
            owner_id=str(OWNER),
            members=[ProjectMember(user_id=str(OWNER), role=9)],  # type: ignore[arg-type]
        ),
    ],
)
def test_what_cannot_be_read_is_refused(changed: ProjectChanged) -> None:
    with pytest.raises(ValueError, match=r"UUID|role"):
        projects_of([IdentityEvent(project_changed=changed)])
