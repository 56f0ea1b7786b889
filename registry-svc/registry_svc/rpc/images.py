"""The RPCs about images."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN
from ams.registry.v1 import registry_service_pb2 as pb
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError, NotFoundError
from ams_common.interceptors import Context
from ams_common.paging import Page, PageRequest, page_request

from registry_svc.auth import rules as access
from registry_svc.clients import Neighbours
from registry_svc.images import versions as images
from registry_svc.images.versions import ACTIVE, Image
from registry_svc.storage.store import Store


class ImageRpcs:
    """Merchants see their own images, consumers those that they may pull, admins all."""

    def __init__(self, database: Database, store: Store, neighbours: Neighbours, host: str) -> None:
        self._database = database
        self._store = store
        self._neighbours = neighbours
        self._host = host

    async def ListImages(self, request: pb.ListImagesRequest, context: Context) -> pb.ListImagesResponse:
        page = await self._list(
            page_request(request),
            merchant_id=current_user_id(),
            service_ids=_one(request.service_id),
            status=images.status_word(request.status),
        )
        return pb.ListImagesResponse(images=self._messages(page.rows), next_page_token=page.next_token)

    async def ListAllImages(
        self, request: pb.ListAllImagesRequest, context: Context
    ) -> pb.ListAllImagesResponse:
        page = await self._list(
            page_request(request),
            merchant_id=UUID(request.merchant_id) if request.merchant_id else None,
            service_ids=_one(request.service_id),
            status=images.status_word(request.status),
        )
        return pb.ListAllImagesResponse(images=self._messages(page.rows), next_page_token=page.next_token)

    async def GetImage(self, request: pb.GetImageRequest, context: Context) -> pb.Image:
        owner_id = None if ADMIN in current_caller().roles else current_user_id()
        async with self._database.read() as connection:
            image = await self._store.find_image(connection, UUID(request.image_id), owner_id)
        return images.image_message(_found(image), self._host)

    async def DeprecateImage(self, request: pb.DeprecateImageRequest, context: Context) -> pb.Image:
        image_id, merchant_id = UUID(request.image_id), current_user_id()
        async with self._database.change() as change:
            image = await self._store.deprecate_image(change.connection, image_id, merchant_id)
            if image is None:
                _found(await self._store.find_image(change.connection, image_id, merchant_id))
                raise FailedPreconditionError("image_not_active", "Only an active image can be deprecated.")
            change.audit("image", image_id, name=image.name, tag=image.tag)
            event = images.changed_event(image, utc_now())
            change.publish(topics.REGISTRY_EVENTS, str(image.service_id), event)
        return images.image_message(image, self._host)

    async def ListConsumerImages(
        self, request: pb.ListConsumerImagesRequest, context: Context
    ) -> pb.ListConsumerImagesResponse:
        granted = await self._neighbours.granted_services(current_user_id())
        wanted = _one(request.service_id)
        page = await self._list(
            page_request(request),
            service_ids=await self._on_offer(
                granted if wanted is None else [one for one in wanted if one in granted]
            ),
            status=ACTIVE,
        )
        return pb.ListConsumerImagesResponse(
            images=[images.consumer_image_message(image, self._host) for image in page.rows],
            next_page_token=page.next_token,
            login_command=f"docker login {self._host} --username ams",
        )

    async def _on_offer(self, service_ids: Sequence[UUID]) -> list[UUID]:
        """Those whose images can be pulled now: a suspended merchant's can't, whoever has a grant."""
        async with self._database.read() as connection:
            stocked = await self._store.list_stocked_services(connection, service_ids)
        services = await asyncio.gather(*(self._neighbours.find_service(one) for one in stocked))
        return [one for one, service in zip(stocked, services, strict=True) if access.is_on_offer(service)]

    async def _list(
        self,
        wanted: PageRequest,
        *,
        service_ids: Sequence[UUID] | None,
        status: str | None,
        merchant_id: UUID | None = None,
    ) -> Page[Image]:
        async with self._database.read() as connection:
            return await self._store.list_images(
                connection,
                wanted,
                merchant_id=merchant_id,
                service_ids=service_ids,
                status=status,
            )

    def _messages(self, shown: Sequence[Image]) -> list[pb.Image]:
        return [images.image_message(image, self._host) for image in shown]


def _one(service_id: str) -> list[UUID] | None:
    return [UUID(service_id)] if service_id else None


def _found(image: Image | None) -> Image:
    """Somebody else's image answers as none."""
    if image is None:
        raise NotFoundError("image_not_found", "There is no such image.")
    return image
