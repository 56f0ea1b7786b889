"""The RPCs about images: merchants see their own, consumers those that they may pull, admins all."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN
from ams.registry.v1 import registry_service_pb2 as pb
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError, NotFoundError
from ams_common.field_changes import field_change
from ams_common.interceptors import Context
from ams_common.paging import page_request

from registry_svc.auth import rules
from registry_svc.clients import PeerClients
from registry_svc.messages import consumer_image_message, image_event, image_message, status_word
from registry_svc.storage.rows import ACTIVE, Image
from registry_svc.storage.store import Store


@dataclass(kw_only=True, eq=False)
class ImageRpcs:
    database: Database[Store]
    peers: PeerClients
    host: str

    async def ListImages(self, request: pb.ListImagesRequest, context: Context) -> pb.ListImagesResponse:
        async with self.database.read() as store:
            page = await store.list_images(
                page_request(request),
                merchant_id=current_user_id(),
                service_ids=_one(request.service_id),
                status=status_word(request.status),
            )
        images = [image_message(image, self.host) for image in page.rows]
        return pb.ListImagesResponse(images=images, next_page_token=page.next_token)

    async def ListAllImages(
        self, request: pb.ListAllImagesRequest, context: Context
    ) -> pb.ListAllImagesResponse:
        async with self.database.read() as store:
            page = await store.list_images(
                page_request(request),
                merchant_id=UUID(request.merchant_id) if request.merchant_id else None,
                service_ids=_one(request.service_id),
                status=status_word(request.status),
            )
        images = [image_message(image, self.host) for image in page.rows]
        return pb.ListAllImagesResponse(images=images, next_page_token=page.next_token)

    async def BatchGetNewestImages(
        self, request: pb.BatchGetNewestImagesRequest, context: Context
    ) -> pb.BatchGetNewestImagesResponse:
        async with self.database.read() as store:
            images = await store.newest_images(
                service_ids=list(map(UUID, request.service_ids)), most=request.images_of_each
            )
        return pb.BatchGetNewestImagesResponse(images=[image_message(image, self.host) for image in images])

    async def GetImage(self, request: pb.GetImageRequest, context: Context) -> pb.Image:
        owner_id = None if ADMIN in current_caller().roles else current_user_id()
        async with self.database.read() as store:
            image = await store.find_image(image_id=UUID(request.image_id), merchant_id=owner_id)
        return image_message(_found(image), self.host)

    async def DeprecateImage(self, request: pb.DeprecateImageRequest, context: Context) -> pb.Image:
        image_id, merchant_id = UUID(request.image_id), current_user_id()
        async with self.database.change() as change:
            image = await change.store.deprecate_image(image_id=image_id, merchant_id=merchant_id)
            if image is None:
                _found(await change.store.find_image(image_id=image_id, merchant_id=merchant_id))
                raise FailedPreconditionError("image_not_active", "Only an active image can be deprecated.")
            changes = [field_change("status", "active", image.status)]
            change.audit("image", image_id, changes, name=image.name, tag=image.tag)
            change.publish(topics.REGISTRY_EVENTS, str(image.service_id), image_event(image, utc_now()))
        return image_message(image, self.host)

    async def ListConsumerImages(
        self, request: pb.ListConsumerImagesRequest, context: Context
    ) -> pb.ListConsumerImagesResponse:
        granted = await self.peers.granted_services(current_user_id())
        wanted = _one(request.service_id)
        pullable = await self._pullable(
            granted if wanted is None else [service_id for service_id in wanted if service_id in granted]
        )
        async with self.database.read() as store:
            page = await store.list_images(
                page_request(request), merchant_id=None, service_ids=pullable, status=ACTIVE
            )
        return pb.ListConsumerImagesResponse(
            images=[consumer_image_message(image, self.host) for image in page.rows],
            next_page_token=page.next_token,
            login_command=f"docker login {self.host} --username ams",
        )

    async def _pullable(self, service_ids: Sequence[UUID]) -> list[UUID]:
        """Keeps those with images that can be pulled now: a suspended merchant's can't, whoever has a
        grant."""
        async with self.database.read() as store:
            stocked = await store.list_stocked_services(service_ids=service_ids)
        # All at once: a consumer may have dozens of grants.
        services = await asyncio.gather(*(self.peers.find_service(one) for one in stocked))
        return [one for one, service in zip(stocked, services, strict=True) if rules.is_pullable(service)]


def _one(service_id: str) -> list[UUID] | None:
    return [UUID(service_id)] if service_id else None


def _found(image: Image | None) -> Image:
    """Raises NotFoundError: somebody else's image answers as none."""
    if image is None:
        raise NotFoundError("image_not_found", "There is no such image.")
    return image
