"""BatchGetServiceNames."""

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from catalog_svc.testing import Caller, Catalog


async def named(catalog: Catalog, caller: Caller, *service_ids: str) -> dict[str, pb.ServiceName]:
    request = pb.BatchGetServiceNamesRequest(service_ids=service_ids)
    answer = await caller.call(catalog.stub.BatchGetServiceNames, request)
    assert len({each.service_id for each in answer.services}) == len(answer.services)
    return {each.service_id: each for each in answer.services}


async def test_each_caller_gets_the_names_it_may_know_and_nothing_for_the_others(catalog: Catalog) -> None:
    acme, other = await catalog.known_merchant("Acme"), await catalog.known_merchant("Other")
    public, draft = await catalog.publish(acme), await catalog.create(acme, name="Secret plan")
    theirs = await catalog.publish(other)
    asked = (public.service_id, draft.service_id, theirs.service_id, str(uuid7()))
    everything = {public.service_id, draft.service_id, theirs.service_id}
    for caller, expected in (
        (catalog.admin(), everything),
        (catalog.service("usage-svc"), everything),
        (catalog.service("billing-svc"), everything),
        (acme, {public.service_id, draft.service_id}),
        (other, {theirs.service_id}),
        (catalog.consumer(), {public.service_id, theirs.service_id}),
        (catalog.caller(CONSUMER, MERCHANT), {public.service_id, theirs.service_id}),
    ):
        assert (await named(catalog, caller, *asked)).keys() == expected
    found = (await named(catalog, catalog.consumer(), *asked))[public.service_id]
    assert found == pb.ServiceName(
        service_id=public.service_id,
        name=public.name,
        slug=public.slug,
        merchant_id=str(acme.user_id),
        merchant_name="Acme",
    )


async def test_malformed_ids_and_too_many_are_refused(catalog: Catalog) -> None:
    for service_ids in (["weather"], [], [str(uuid7())] * 501):
        request = pb.BatchGetServiceNamesRequest(service_ids=service_ids)
        error = await catalog.admin().error(catalog.stub.BatchGetServiceNames, request)
        assert isinstance(error, InvalidArgumentError)
