"""Names for the ids of services: a page shows the one and links by the other."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common import formats

from ams_bff.http.visits import Visit

Known: TypeAlias = Mapping[str, pb.MarketplaceService]
Names: TypeAlias = Mapping[str, pb.ServiceName]

# As many as one request may ask for.
_MOST_IDS = 500
_MOST_WHOLE = 100


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
    """Whole, by id, as they stand in the marketplace for the reader; those that don't (any more), and what is
    no id, are left out. One call, but for more than 100. Raises AppError."""
    wanted = sorted({service_id for service_id in service_ids if formats.UUID.fullmatch(service_id)})
    parts = [wanted[at : at + _MOST_WHOLE] for at in range(0, len(wanted), _MOST_WHOLE)]
    found = await asyncio.gather(
        *(visit.api.catalog.BatchGetMarketplaceServices(service_ids=part) for part in parts)
    )
    return {each.service_id: each for answer in found for each in answer.services}


def name_of(known: Known | Names | None, service_id: str) -> str:
    """What to call a service, also one that is gone from the marketplace, and any when nobody could be
    asked."""
    if known is None:
        return f"Service …{service_id[-6:]}"
    service = known.get(service_id)
    return service.name if service is not None else f"Withdrawn service …{service_id[-6:]}"
