"""What usage can be narrowed to, and what that is called."""

from collections.abc import Iterable
from contextlib import suppress

from ams.policy.v1.policy_pb2 import ADMIN, Role
from ams_common.errors import NotFoundError

from ams_bff.http.visits import Visit
from ams_bff.views.consumer_lists import all_requests, approved_services
from ams_bff.views.naming import AnyService, know_services

_MOST = 200
# A consumer's are asked for one by one.
_MOST_GRANTED = 50


async def service_choices(visit: Visit) -> list[tuple[str, str]]:
    """Ids and names of the reader's services, by name; of many the newest."""
    services = await _services(visit)
    return sorted(((each.service_id, each.name) for each in services), key=lambda pair: pair[1].casefold())


async def _services(visit: Visit) -> Iterable[AnyService]:
    match visit.role:
        case Role.MERCHANT:
            return (await visit.api.catalog.ListMerchantServices(page_size=_MOST)).services
        case Role.ADMIN:
            return (await visit.api.catalog.ListServices(page_size=_MOST)).services
        case _:
            granted = approved_services(await all_requests(visit))
            return (await know_services(visit, granted[:_MOST_GRANTED])).values()


async def people_in_words(visit: Visit) -> dict[str, str]:
    """What to call the merchant and the consumer that an admin's URL names, by its parameters."""
    names: dict[str, str] = {}
    if visit.role != ADMIN:
        return {}
    with suppress(NotFoundError):  # there is no usage of nobody either
        if merchant_id := visit.query.get("merchant"):
            names["merchant"] = (await visit.api.identity.GetMerchant(merchant_id=merchant_id)).company_name
        if consumer_id := visit.query.get("consumer"):
            names["consumer"] = (await visit.api.identity.GetConsumer(consumer_id=consumer_id)).email
    return names
