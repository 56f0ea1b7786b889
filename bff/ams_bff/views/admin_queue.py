"""Everything that waits for an admin, in one queue: services and changes of services to approve, and
consumers who ask for access."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import DOCKER, PENDING_APPROVAL
from ams.catalog.v1.revision_pb2 import ServiceRevision
from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.registry.v1 import registry_service_pb2 as registry_pb
from google.protobuf.timestamp_pb2 import Timestamp

from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form

SHOWN = 25
# What one page of a list may hold: more than this waits only after a long holiday.
_MOST = 200
_SHOWN_IMAGES = 5
# As many as one request may ask for.
_MOST_SERVICES = 100
_MOST_CONSUMERS = 200


@dataclass(frozen=True, slots=True)
class Pending:
    """One decision to take, with the facts that it needs."""

    # Unset for a revision, which names its service itself.
    service: catalog_pb.Service | None
    since: Timestamp
    # Unset for a service that waits itself.
    request: keys_pb.AccessRequest | None = None
    consumer: identity_pb.Consumer | None = None
    # Unset but for a change of a service.
    revision: ServiceRevision | None = None
    # Of a Docker service that waits itself: its newest images.
    images: Sequence[registry_pb.Image] = ()
    form: Form = field(default_factory=Form)

    @property
    def item_id(self) -> str:
        if self.request is not None:
            return self.request.access_request_id
        if self.revision is not None:
            return self.revision.revision_id
        assert self.service is not None, "what waits is one of the three"
        return self.service.service_id

    @property
    def moment(self) -> datetime:
        return self.since.ToDatetime()


@dataclass(frozen=True, slots=True)
class Waiting:
    """All that waits, as far as one page of each list goes. `is_all`: there is no more."""

    services: Sequence[catalog_pb.Service]
    revisions: Sequence[ServiceRevision]
    requests: Sequence[keys_pb.AccessRequest]
    is_all: bool

    @property
    def count(self) -> int:
        return len(self.services) + len(self.revisions) + len(self.requests)

    def __str__(self) -> str:
        return f"{self.count:,}" if self.is_all else f"over {self.count:,}"


@dataclass(frozen=True, slots=True)
class Queue:
    """The oldest decisions, and how long the queue is."""

    items: list[Pending]
    waiting: Waiting


async def load_queue(visit: Visit) -> Queue:
    """With the facts of the ones that are shown."""
    waiting = await load_waiting(visit)
    moments = sorted(
        [(service.updated_at.ToDatetime(), service.service_id) for service in waiting.services]
        + [(each.created_at.ToDatetime(), each.revision_id) for each in waiting.revisions]
        + [(asked.requested_at.ToDatetime(), asked.access_request_id) for asked in waiting.requests]
    )
    shown = {item_id for _, item_id in moments[:SHOWN]}
    services = [one for one in waiting.services if one.service_id in shown]
    requests = [asked for asked in waiting.requests if asked.access_request_id in shown]
    changes = [Pending(None, each.created_at, revision=each) for each in waiting.revisions]
    items = await services_with_facts(visit, services) + await with_facts(visit, requests)
    items += [change for change in changes if change.item_id in shown]
    return Queue(sorted(items, key=lambda item: item.moment), waiting)


async def load_waiting(visit: Visit) -> Waiting:
    services, revisions, requests = await asyncio.gather(
        visit.api.catalog.ListServices(page_size=_MOST, status=PENDING_APPROVAL, order_by="updated_at"),
        visit.api.revisions.ListPendingRevisions(page_size=_MOST),
        visit.api.keys.ListAccessRequests(page_size=_MOST, status=keys_pb.PENDING),
    )
    is_all = not (services.next_page_token or revisions.next_page_token or requests.next_page_token)
    return Waiting(services.services, revisions.revisions, requests.access_requests, is_all)


async def services_with_facts(visit: Visit, services: Iterable[catalog_pb.Service]) -> list[Pending]:
    """Services that wait, those of images with what was pushed for them."""
    waiting = list(services)
    images = await newest_images(visit, waiting)
    return [Pending(service, service.updated_at, images=images[service.service_id]) for service in waiting]


async def newest_images(
    visit: Visit, services: Iterable[catalog_pb.Service]
) -> defaultdict[str, list[registry_pb.Image]]:
    """By service, those of Docker services, rejected pushes among them; none of an API."""
    images = defaultdict(list)
    if asked := [service.service_id for service in services if service.type == DOCKER]:
        answer = await visit.api.registry.BatchGetNewestImages(
            service_ids=asked, images_of_each=_SHOWN_IMAGES
        )
        for image in answer.images:
            images[image.service_id].append(image)
    return images


async def with_facts(visit: Visit, requests: Iterable[keys_pb.AccessRequest]) -> list[Pending]:
    asked = list(requests)
    services, consumers = await asyncio.gather(
        services_by_id(visit, {one.service_id for one in asked}),
        consumers_by_id(visit, {one.consumer_id for one in asked}),
    )
    return [
        Pending(services[one.service_id], one.requested_at, one, consumers[one.consumer_id]) for one in asked
    ]


async def services_by_id(visit: Visit, service_ids: Iterable[str]) -> dict[str, catalog_pb.Service]:
    """One call, but for more than 100."""
    wanted = sorted(set(service_ids))
    parts = [wanted[at : at + _MOST_SERVICES] for at in range(0, len(wanted), _MOST_SERVICES)]
    answers = await asyncio.gather(*(visit.api.catalog.BatchGetServices(service_ids=part) for part in parts))
    return {service.service_id: service for answer in answers for service in answer.services}


async def consumers_by_id(visit: Visit, consumer_ids: Iterable[str]) -> dict[str, identity_pb.Consumer]:
    """One call, but for more than 200."""
    wanted = sorted(set(consumer_ids))
    parts = [wanted[at : at + _MOST_CONSUMERS] for at in range(0, len(wanted), _MOST_CONSUMERS)]
    answers = await asyncio.gather(
        *(visit.api.identity.BatchGetConsumers(consumer_ids=part) for part in parts)
    )
    return {consumer.consumer_id: consumer for answer in answers for consumer in answer.consumers}
