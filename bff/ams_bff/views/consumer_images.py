"""The images that a consumer can pull, and how (PRD-8, FR3-CONS-05)."""

import asyncio
from collections.abc import Iterable
from typing import Any

from ams.catalog.v1.events_pb2 import DOCKER
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.registry.v1 import registry_service_pb2 as pb
from ams.registry.v1.events_pb2 import LicenseModel
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.ui.formats import enum_label
from ams_bff.views.consumer_lists import all_requests, approved_services
from ams_bff.views.naming import know_services, name_of, service_names

PATH = "/dashboard/images"
_PAGE_SIZE = 25
_COLUMNS = ("image", "tag", "service", "licence", "size_bytes", "pushed_at", "digest", "pull_command")
# On a service's own page: the newest, the rest is on the page of all images.
_SHOWN_OF_ONE = 5


async def list_images(visit: Visit) -> Response:
    service_id = visit.query.get("service", "")
    images, requests = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token), all_requests(visit)
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
    return await visit.api.registry.ListConsumerImages(
        service_id=service_id, page_size=page_size, page_token=page_token
    )


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListConsumerImagesResponse:
    return await ask_images(visit, visit.query.get("service", ""), size, page_token)


async def _rows(visit: Visit, listed: pb.ListConsumerImagesResponse) -> list[Cells]:
    names = _names(await service_names(visit, (each.service_id for each in listed.images)), listed.images)
    return [
        [
            *cells(image, "name", "tag"),
            names[image.service_id],
            enum_label(image.license_model, LicenseModel) if image.license_model else "",
            *cells(image, "size_bytes", "pushed_at", "digest", "pull_command"),
        ]
        for image in listed.images
    ]


def _names(known: Any, images: Iterable[pb.ConsumerImage]) -> dict[str, str]:
    return {image.service_id: name_of(known, image.service_id) for image in images}


VIEWS = (
    page(PATH, list_images, CONSUMER),
    list_download(PATH, "images", _COLUMNS, _ask, _rows, CONSUMER),
)
