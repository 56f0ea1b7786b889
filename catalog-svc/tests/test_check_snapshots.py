"""A gateway confirms what it holds, by whichever name it knows a service."""

from collections.abc import Mapping

import grpc
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.identity.v1.events_pb2 import STANDING_SUSPENDED
from ams_common.ids import uuid7
from catalog_svc.testing import Catalog

Held = pb.CheckServiceSnapshotsRequest.Held


async def check(catalog: Catalog, held: Mapping[str, int]) -> pb.CheckServiceSnapshotsResponse:
    asked = [Held(service=service, version=version) for service, version in held.items()]
    return await catalog.service("gateway").call(
        catalog.stub.CheckServiceSnapshots, pb.CheckServiceSnapshotsRequest(held=asked)
    )


async def truth(catalog: Catalog, service: pb.Service) -> ServiceSnapshot:
    request = pb.GetServiceSnapshotRequest(service=service.service_id)
    return await catalog.service("gateway").call(catalog.stub.GetServiceSnapshot, request)


async def test_what_is_held_as_it_is_goes_unmentioned(catalog: Catalog) -> None:
    service = await catalog.publish(await catalog.known_merchant())
    version = (await truth(catalog, service)).version
    answer = await check(catalog, {service.service_id: version, service.slug: version})
    assert answer == pb.CheckServiceSnapshotsResponse()
    assert len(await catalog.snapshots(service.slug)) == 1


async def test_what_differs_is_answered_for_each_name_and_what_is_not_there_is_named(
    catalog: Catalog,
) -> None:
    merchant, other = await catalog.known_merchant(), await catalog.known_merchant("Other")
    suspended, same = await catalog.publish(merchant), await catalog.publish(other)
    held = {
        suspended.service_id: (await truth(catalog, suspended)).version,
        suspended.slug: (await truth(catalog, suspended)).version,
        same.service_id: (await truth(catalog, same)).version,
    }
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=1)
    unknown = {str(uuid7()): 7, "no-such-service": 7, "NO SUCH": 0}
    answer = await check(catalog, held | unknown)
    assert list(answer.changed) == [await truth(catalog, suspended)] * 2
    assert list(answer.missing) == list(unknown)


async def test_who_holds_nothing_gets_everything(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    active, draft = await catalog.publish(merchant), await catalog.create(merchant, name="Draft")
    # As the migration leaves services of before there were versions.
    await catalog.execute("UPDATE services SET snapshot_version = DEFAULT")
    answer = await check(catalog, {active.slug: 0, draft.slug: 0})
    assert [each.service_id for each in answer.changed] == [active.service_id, draft.service_id]


async def test_who_holds_an_older_one_has_the_truth_written_to_redis_again_once(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service, draft = await catalog.publish(merchant), await catalog.create(merchant, name="Draft")
    held = (await truth(catalog, service)).version
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=1)
    await catalog.execute("DELETE FROM outbox")  # all delivered, and then Redis was restored
    for _ in range(3):
        await check(catalog, {service.slug: held, draft.slug: 0})
    for name in (service.service_id, service.slug):
        assert await catalog.snapshots(name) == [await truth(catalog, service)]
    assert await catalog.snapshots(draft.slug) == []


async def test_who_holds_a_newer_one_than_there_is_has_nothing_written(catalog: Catalog) -> None:
    """The database was restored: Redis, which refuses what is older, would be asked for nothing."""
    service = await catalog.publish(await catalog.known_merchant())
    answer = await check(catalog, {service.slug: (await truth(catalog, service)).version + 1})
    assert list(answer.changed) == [await truth(catalog, service)]
    assert len(await catalog.snapshots(service.slug)) == 1


async def test_hostile_fields_are_refused(catalog: Catalog) -> None:
    gateway = catalog.service("gateway")
    for held in ([], [Held()], [Held(service="x" * 101)], [Held(service=str(n)) for n in range(501)]):
        request = pb.CheckServiceSnapshotsRequest(held=held)
        error = await gateway.error(catalog.stub.CheckServiceSnapshots, request)
        assert error.grpc_code is grpc.StatusCode.INVALID_ARGUMENT
