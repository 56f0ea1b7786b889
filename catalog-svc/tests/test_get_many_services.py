"""Many services in one call: whole, and as each caller may see them."""

from collections.abc import Iterable

import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import invitation_service_pb2 as invitation_pb
from ams.catalog.v1.metadata_pb2 import PRIVATE
from ams_common.errors import InvalidArgumentError, UnavailableError
from ams_common.ids import uuid7
from catalog_svc.testing import Caller, Catalog


async def offered(
    catalog: Catalog, caller: Caller, service_ids: Iterable[str]
) -> dict[str, pb.MarketplaceService]:
    request = pb.BatchGetMarketplaceServicesRequest(service_ids=service_ids)
    answer = await caller.call(catalog.stub.BatchGetMarketplaceServices, request)
    assert len({each.service_id for each in answer.services}) == len(answer.services)
    return {each.service_id: each for each in answer.services}


async def test_each_caller_gets_what_stands_in_the_marketplace_for_it(catalog: Catalog) -> None:
    acme, other = await catalog.known_merchant("Acme"), await catalog.known_merchant("Other")
    public, draft = await catalog.publish(acme), await catalog.create(acme, name="Secret plan")
    private = await catalog.publish(acme, name="Hidden", visibility=PRIVATE)
    invitation = invitation_pb.CreateInvitationRequest(
        service_id=private.service_id, note="Example Ltd.", max_uses=1, valid_days=7
    )
    made = await acme.call(catalog.invitations.CreateInvitation, invitation)
    guest = catalog.consumer()
    await guest.call(
        catalog.invitations.AcceptInvitation, invitation_pb.AcceptInvitationRequest(token=made.token)
    )
    asked = [public.service_id, draft.service_id, private.service_id, str(uuid7())]
    both = {public.service_id, private.service_id}
    for caller in (catalog.admin(), acme, guest):
        assert (await offered(catalog, caller, asked)).keys() == both
    for stranger in (other, catalog.consumer()):
        without = [public.service_id, draft.service_id]
        assert (await offered(catalog, stranger, without)).keys() == {public.service_id}
        # Whether it has access keys-svc would have to say, which is away.
        request = pb.BatchGetMarketplaceServicesRequest(service_ids=asked)
        error = await stranger.error(catalog.stub.BatchGetMarketplaceServices, request)
        assert isinstance(error, UnavailableError)
    one = await guest.call(
        catalog.stub.GetMarketplaceService, pb.GetMarketplaceServiceRequest(service=public.service_id)
    )
    assert (await offered(catalog, guest, asked))[public.service_id] == one


async def test_an_admin_gets_those_that_there_are_as_one_by_one(catalog: Catalog) -> None:
    acme = await catalog.known_merchant("Acme")
    services = [await catalog.publish(acme), await catalog.create(acme, name="Draft")]
    ids = [each.service_id for each in services]
    answer = await catalog.admin().call(
        catalog.stub.BatchGetServices, pb.BatchGetServicesRequest(service_ids=[*ids, str(uuid7())])
    )
    found = {each.service_id: each for each in answer.services}
    assert found.keys() == set(ids)
    for service_id in ids:
        request = pb.GetServiceRequest(service_id=service_id)
        assert await catalog.admin().call(catalog.stub.GetService, request) == found[service_id]


@pytest.mark.parametrize("rpc", ["BatchGetServices", "BatchGetMarketplaceServices"])
async def test_malformed_ids_and_too_many_are_refused(catalog: Catalog, rpc: str) -> None:
    for service_ids in (["weather"], [], [str(uuid7())] * 101):
        request = getattr(pb, f"{rpc}Request")(service_ids=service_ids)
        error = await catalog.admin().error(getattr(catalog.stub, rpc), request)
        assert isinstance(error, InvalidArgumentError)
