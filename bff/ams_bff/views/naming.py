"""Names for the ids of services: a page shows the one and links by the other."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import NotFoundError

from ams_bff.http.visits import Visit

AnyService: TypeAlias = pb.MarketplaceService | pb.Service
Known: TypeAlias = Mapping[str, AnyService]
Names: TypeAlias = Mapping[str, pb.ServiceName]

# As many as one request may ask for.
_MOST_IDS = 500


async def service_names(visit: Visit, service_ids: Iterable[str]) -> Names | None:
    """By id, of those that the reader may know of; None when nobody could be asked. One call, but for more
    than 500."""
    wanted = sorted({service_id for service_id in service_ids if service_id})
    parts = [wanted[at : at + _MOST_IDS] for at in range(0, len(wanted), _MOST_IDS)]
    found = await asyncio.gather(*(visit.or_none_if_down(_ask_names(visit, part)) for part in parts))
    if None in found:
        return None
    return {each.service_id: each for answer in found if answer for each in answer.services}


async def _ask_names(visit: Visit, service_ids: Sequence[str]) -> pb.BatchGetServiceNamesResponse:
    return await visit.api.catalog.BatchGetServiceNames(service_ids=service_ids)


async def know_services(visit: Visit, service_ids: Iterable[str]) -> Known:
    """Whole, by id, as the area's role may see them: one call each, for pages of few. Those that it may not
    see (any more) are left out."""
    wanted = sorted({service_id for service_id in service_ids if service_id})
    found = await asyncio.gather(*(_find(visit, service_id) for service_id in wanted))
    return {service.service_id: service for service in found if service is not None}


async def _find(visit: Visit, service_id: str) -> AnyService | None:
    try:
        if visit.role == CONSUMER:
            return await visit.api.catalog.GetMarketplaceService(service=service_id)
        return await visit.api.catalog.GetService(service_id=service_id)
    except NotFoundError:
        return None


def name_of(known: Known | Names | None, service_id: str) -> str:
    """What to call a service, also one that is gone from the marketplace, and any when nobody could be
    asked."""
    if known is None:
        return f"Service …{service_id[-6:]}"
    service = known.get(service_id)
    return service.name if service is not None else f"Withdrawn service …{service_id[-6:]}"
