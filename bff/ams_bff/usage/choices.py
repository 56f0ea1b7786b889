"""What usage can be narrowed to, and what that is called."""

from collections.abc import Iterable
from contextlib import suppress

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.identity.v1 import identity_service_pb2 as identity_pb
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
    catalog = visit.services.catalog
    match visit.role:
        case Role.MERCHANT:
            own = catalog_pb.ListMerchantServicesRequest(page_size=_MOST)
            return (await visit.ask(catalog.ListMerchantServices, own)).services
        case Role.ADMIN:
            all_of_them = catalog_pb.ListServicesRequest(page_size=_MOST)
            return (await visit.ask(catalog.ListServices, all_of_them)).services
        case _:
            granted = approved_services(await all_requests(visit))
            return (await know_services(visit, granted[:_MOST_GRANTED])).values()


async def people_in_words(visit: Visit) -> dict[str, str]:
    """What to call the merchant and the consumer that an admin's URL names, by its parameters."""
    identity, names = visit.services.identity, {}
    if visit.role != ADMIN:
        return {}
    with suppress(NotFoundError):  # there is no usage of nobody either
        if merchant_id := visit.query.get("merchant"):
            merchant = identity_pb.GetMerchantRequest(merchant_id=merchant_id)
            names["merchant"] = (await visit.ask(identity.GetMerchant, merchant)).company_name
        if consumer_id := visit.query.get("consumer"):
            consumer = identity_pb.GetConsumerRequest(consumer_id=consumer_id)
            names["consumer"] = (await visit.ask(identity.GetConsumer, consumer)).email
    return names
