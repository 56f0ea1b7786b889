"""The images that a consumer can pull, and how (PRD §8 "Docker Images", FR3-CONS-05)."""

import asyncio
from collections.abc import Iterable
from typing import Any

from ams.catalog.v1.events_pb2 import DOCKER
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.registry.v1 import registry_service_pb2 as pb
from starlette.responses import Response

from ams_bff.views.consumer_lists import all_requests, approved_services
from ams_bff.views.naming import know_services, name_of
from ams_bff.web.routing import page
from ams_bff.web.visits import Visit

PATH = "/dashboard/images"
_PAGE_SIZE = 25
# On a service's own page: the newest, the rest is on the page of all images.
_SHOWN_OF_ONE = 5


async def list_images(visit: Visit) -> Response:
    """Newest first; of one service when the URL says so."""
    service_id = visit.query.get("service", "")
    images, requests = await asyncio.gather(
        ask_images(visit, service_id, _PAGE_SIZE, visit.query.get("page", "")), all_requests(visit)
    )
    wanted = [*approved_services(requests), *(image.service_id for image in images.images)]
    known = await know_services(visit, wanted)
    services = sorted(
        (service for service in known.values() if service.type == DOCKER),
        key=lambda service: service.name.casefold(),
    )
    return await visit.render(
        "images/list.html",
        images=images,
        services=services,
        names=_names(known, images.images),
        service_id=service_id,
    )


async def ask_images(
    visit: Visit, service_id: str, page_size: int = _SHOWN_OF_ONE, page_token: str = ""
) -> pb.ListConsumerImagesResponse:
    """What the consumer can pull of a service ("": of all), with the login command."""
    request = pb.ListConsumerImagesRequest(service_id=service_id, page_size=page_size, page_token=page_token)
    return await visit.ask(visit.services.registry.ListConsumerImages, request)


def _names(known: Any, images: Iterable[pb.ConsumerImage]) -> dict[str, str]:
    return {image.service_id: name_of(known, image.service_id) for image in images}


VIEWS = (page(PATH, list_images, CONSUMER),)
