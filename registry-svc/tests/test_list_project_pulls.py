"""Which images a project's keys have pulled, for its members."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.identity.v1.events_pb2 import PROJECT_VIEWER
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.registry.v1 import project_image_service_pb2 as pb
from ams.registry.v1 import project_image_service_pb2_grpc as rpc
from ams.registry.v1.events_pb2 import IMAGE_ACTIVE
from ams_common.client import invoke
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.testing.policies import callers_let_in
from ams_common.testing.projects import a_project
from ams_common.testing.tokens import TestIssuer
from registry_svc.event_handlers import apply_projects
from registry_svc.rpc.project_images import ProjectImageService
from registry_svc.storage.rows import Image
from registry_svc.storage.store import Store

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["ProjectImageService"]
OWNER, VIEWER = uuid7(), uuid7()


@pytest.fixture
async def projects_channel(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]], database: Database[Store]
) -> grpc.aio.Channel:
    service = ProjectImageService(database=database)
    return await serve_rpc(DESCRIPTOR, partial(rpc.add_ProjectImageServiceServicer_to_server, service))


@pytest.fixture
def ask(
    projects_channel: grpc.aio.Channel, issuer: TestIssuer
) -> Callable[..., Awaitable[pb.ListProjectPullsResponse]]:
    stub = rpc.ProjectImageServiceStub(projects_channel)

    async def of(user_id: UUID, project_id: str, **fields: Any) -> pb.ListProjectPullsResponse:
        request = pb.ListProjectPullsRequest(project_id=project_id, **fields)
        return await invoke(stub.ListProjectPulls, request, token=issuer.user_token(user_id, CONSUMER))

    return of


@pytest.fixture
def pull(database: Database[Store]) -> Callable[..., Awaitable[None]]:
    async def add(image: Image, key_id: UUID, project_id: UUID | None, minutes_ago: int) -> None:
        async with database.change_by_system("test", audited=False) as change:
            await change.store.add_pull(
                pull_id=uuid7(),
                token_id=uuid7(),
                image_id=image.image_id,
                digest=image.digest,
                consumer_id=OWNER,
                key_id=key_id,
                project_id=project_id,
                pulled_at=utc_now() - timedelta(minutes=minutes_ago),
            )

    return add


async def test_who_may_ask(projects_channel: grpc.aio.Channel, issuer: TestIssuer) -> None:
    assert await callers_let_in(projects_channel, DESCRIPTOR, issuer) == {"ListProjectPulls": {"consumer"}}


async def test_members_see_what_was_pulled_for_the_project_last_pulled_first(
    ask: Any, pull: Any, shelf: Any, database: Database[Store]
) -> None:
    project = a_project(OWNER, {VIEWER: PROJECT_VIEWER})
    async with database.change_by_system("test", audited=False) as change:
        await apply_projects(change, [project])
    token = await shelf.token(uuid7())
    old, new, private = [await shelf.image(token, tag) for tag in ("1.0.0", "2.0.0", "3.0.0")]
    keys = sorted((uuid7(), uuid7()))
    await pull(old, keys[0], project.project_id, 30)
    await pull(old, keys[1], project.project_id, 20)
    await pull(new, keys[0], project.project_id, 10)
    await pull(private, keys[0], None, 5)
    await pull(new, keys[0], None, 1)
    project_id = str(project.project_id)
    for user_id in (OWNER, VIEWER):
        listed = (await ask(user_id, project_id)).images
        assert [(each.tag, each.pulls, list(each.key_ids)) for each in listed] == [
            ("2.0.0", 1, [str(keys[0])]),
            ("1.0.0", 2, [str(key) for key in keys]),
        ]
        assert {each.status for each in listed} == {IMAGE_ACTIVE}
    first = await ask(OWNER, project_id, page_size=1)
    second = await ask(OWNER, project_id, page_size=1, page_token=first.next_page_token)
    assert [each.tag for each in (*first.images, *second.images)] == ["2.0.0", "1.0.0"]
    assert second.next_page_token == ""
    for outsider, asked in ((uuid7(), project_id), (OWNER, str(uuid7()))):
        with pytest.raises(NotFoundError, match="no such project"):
            await ask(outsider, asked)
    with pytest.raises(InvalidArgumentError):
        await ask(OWNER, "1")
