"""Projects are followed by asking identity-svc, for a removal must not wait while Kafka is away."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from ams.identity.v1.events_pb2 import PROJECT_MEMBER, PROJECT_OWNER, PROJECT_VIEWER, ProjectRole
from ams_common.client import open_channel
from ams_common.database import Database
from ams_common.errors import AppError
from ams_common.ids import uuid7
from ams_common.projects import ProjectFollower, find_membership
from ams_common.testing.neighbours import schemas, serving
from usage_svc.projects import apply_projects
from usage_svc.store import Store


class Identity:
    """identity-svc, with Kafka away, and its rows: a change of a project is written as it would."""

    def __init__(self, address: str, connection: asyncpg.Connection) -> None:
        self.address = address
        self._connection = connection

    async def tell(self, project_id: UUID, roles: dict[UUID, ProjectRole.ValueType], version: int) -> None:
        owner_id = next(user_id for user_id, role in roles.items() if role == PROJECT_OWNER)
        async with self._connection.transaction():
            for user_id in roles:
                await self._connection.execute(
                    "INSERT INTO users (user_id, email, name, created_at) VALUES ($1, $2, 'Ann', now())"
                    " ON CONFLICT DO NOTHING",
                    user_id,
                    f"{user_id}@example.com",
                )
            await self._connection.execute(
                "INSERT INTO projects (project_id, name, description, owner_id, created_at, version)"
                " VALUES ($1, 'Maps', '', $2, now(), $3)"
                " ON CONFLICT (project_id) DO UPDATE SET owner_id = $2, version = $3",
                project_id,
                owner_id,
                version,
            )
            await self._connection.execute("DELETE FROM project_members WHERE project_id = $1", project_id)
            await self._connection.executemany(
                "INSERT INTO project_members (project_id, user_id, role, joined_at)"
                " VALUES ($1, $2, $3, now())",
                [(project_id, user_id, role) for user_id, role in roles.items()],
            )


@pytest.fixture
async def identity(admin_database_url: str, nobody_listens: str, tmp_path: Path) -> AsyncIterator[Identity]:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": nobody_listens}
    async with (
        schemas(admin_database_url, "identity") as urls,
        serving("identity", urls["identity"], environment, tmp_path) as address,
    ):
        connection = await asyncpg.connect(urls["identity"])
        yield Identity(address, connection)
        await connection.close()


async def role_of(database: Database[Store], project_id: UUID, user_id: UUID) -> ProjectRole.ValueType | None:
    async with database.connection() as connection:
        membership = await find_membership(connection, project_id, user_id)
    return membership.member.role if membership else None


async def test_who_is_in_and_who_is_out_is_heard_while_kafka_is_away(
    identity: Identity, database: Database[Store]
) -> None:
    owner, member, projects = uuid7(), uuid7(), [uuid7() for _ in range(35)]
    async with open_channel(identity.address) as channel:
        follower = ProjectFollower(database, channel, "usage-svc", "development-secret", apply_projects)
        # More than a page of them.
        for version, project_id in enumerate(projects, start=1):
            await identity.tell(project_id, {owner: PROJECT_OWNER, member: PROJECT_MEMBER}, version)
        await follower.catch_up()
        for project_id in projects:
            assert await role_of(database, project_id, member) == PROJECT_MEMBER
        await identity.tell(projects[0], {owner: PROJECT_OWNER}, 101)
        await identity.tell(projects[1], {owner: PROJECT_VIEWER, member: PROJECT_OWNER}, 102)
        await follower.catch_up()
        await follower.catch_up()
    assert await role_of(database, projects[0], member) is None
    assert await role_of(database, projects[1], member) == PROJECT_OWNER
    assert await role_of(database, projects[1], owner) == PROJECT_VIEWER
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT version FROM followed_versions") == 102


async def test_nobody_follows_who_cannot_prove_who_asks(
    identity: Identity, database: Database[Store]
) -> None:
    async with open_channel(identity.address) as channel:
        for service, secret in (("usage-svc", "another secret"), ("gateway", "development-secret")):
            follower = ProjectFollower(database, channel, service, secret, apply_projects)
            with pytest.raises(AppError):
                await follower.catch_up()
