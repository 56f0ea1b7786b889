"""What projects have pulled, for their members."""

from dataclasses import dataclass
from uuid import UUID

from ams.registry.v1 import project_image_service_pb2 as pb
from ams.registry.v1 import project_image_service_pb2_grpc as rpc
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.project_rights import ProjectRight
from ams_common.projects import require_right

from registry_svc.messages import project_pulls_message
from registry_svc.storage.store import Store


@dataclass(kw_only=True, eq=False)
class ProjectImageService(rpc.ProjectImageServiceServicer):
    """All of ams.registry.v1.ProjectImageService."""

    database: Database[Store]

    async def ListProjectPulls(
        self, request: pb.ListProjectPullsRequest, context: Context
    ) -> pb.ListProjectPullsResponse:
        project_id = UUID(request.project_id)
        async with self.database.read() as store:
            await require_right(store.connection, project_id, current_user_id(), ProjectRight.SEE_USAGE)
            page = await store.list_project_pulls(page_request(request), project_id=project_id)
        images = [project_pulls_message(pulled) for pulled in page.rows]
        return pb.ListProjectPullsResponse(images=images, next_page_token=page.next_token)
