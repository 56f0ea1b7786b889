"""Of two snapshots of a service the one with the higher version is in force: so each change makes one."""

import asyncio
from collections.abc import Sequence

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_SUSPENDED
from catalog_svc.testing import Caller, Catalog
from google.protobuf.field_mask_pb2 import FieldMask


async def limit(catalog: Catalog, merchant: Caller, service_id: str, connections: int) -> None:
    request = pb.UpdateServiceRequest(
        service_id=service_id,
        update_mask=FieldMask(paths=["forwarding.max_connections"]),
        forwarding=ForwardingSettings(max_connections=connections),
    )
    await merchant.call(catalog.stub.UpdateService, request)


async def snapshot(catalog: Catalog, service: str) -> ServiceSnapshot:
    request = pb.GetServiceSnapshotRequest(service=service)
    return await catalog.service("gateway").call(catalog.stub.GetServiceSnapshot, request)


async def versions(catalog: Catalog, service: str) -> Sequence[int]:
    return [each.version for each in await catalog.snapshots(service)]


async def test_each_change_of_the_service_or_its_merchants_standing_makes_a_higher_version(
    catalog: Catalog,
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    await limit(catalog, merchant, service.service_id, 7)
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=1)
    await catalog.tell_merchant(merchant, standing=STANDING_ACTIVE, version=2)
    by_id = await versions(catalog, service.service_id)
    assert len(by_id) == 4
    assert list(by_id) == sorted(set(by_id))
    assert await versions(catalog, service.slug) == by_id
    assert await snapshot(catalog, service.slug) == (await catalog.snapshots(service.service_id))[-1]


async def test_a_service_that_was_never_active_has_versions_and_reaches_no_gateway(
    catalog: Catalog,
) -> None:
    merchant = await catalog.known_merchant()
    created = await catalog.create(merchant)
    seen = [await snapshot(catalog, created.service_id)]
    await limit(catalog, merchant, created.service_id, 7)
    seen.append(await snapshot(catalog, created.service_id))
    await merchant.call(catalog.stub.SubmitService, pb.SubmitServiceRequest(service_id=created.service_id))
    seen.append(await snapshot(catalog, created.service_id))
    await catalog.admin().call(
        catalog.stub.RejectService, pb.RejectServiceRequest(service_id=created.service_id, reason="no")
    )
    seen.append(await snapshot(catalog, created.service_id))
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=1)
    seen.append(await snapshot(catalog, created.service_id))
    assert [each.version for each in seen] == sorted({each.version for each in seen})
    assert await catalog.snapshots(created.service_id) == []


async def test_another_services_version_stays(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    changed, same = await catalog.publish(merchant), await catalog.publish(merchant)
    before = await snapshot(catalog, same.service_id)
    await limit(catalog, merchant, changed.service_id, 7)
    assert await snapshot(catalog, same.service_id) == before


async def test_changes_at_once_never_tie_and_the_last_tells_of_all(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    changed = await asyncio.gather(
        catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=1),
        *[limit(catalog, merchant, service.service_id, number) for number in range(1, 6)],
        return_exceptions=True,
    )
    # Whoever comes after the suspension is refused.
    refused = [each for each in changed if isinstance(each, BaseException)]
    found = await catalog.snapshots(service.service_id)
    assert len({each.version for each in found}) == len(found) == 7 - len(refused)
    newest = max(found, key=lambda each: each.version)
    assert newest.merchant_standing == STANDING_SUSPENDED
    assert newest == await snapshot(catalog, service.service_id)


async def test_versions_grow_over_a_clock_set_back_and_a_restore(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    held = (await snapshot(catalog, service.service_id)).version
    await catalog.execute("UPDATE services SET snapshot_version = 1")
    await limit(catalog, merchant, service.service_id, 7)
    assert (await snapshot(catalog, service.service_id)).version > held
    await catalog.execute(f"UPDATE services SET snapshot_version = {2**52}")
    await limit(catalog, merchant, service.service_id, 8)
    assert (await snapshot(catalog, service.service_id)).version == 2**52 + 1


async def test_an_older_message_undoes_no_suspension(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=7)
    for version in (0, 6, 7):
        await catalog.tell_merchant(merchant, "Renamed", STANDING_ACTIVE, version)
    assert (await snapshot(catalog, service.service_id)).merchant_standing == STANDING_SUSPENDED
    [row] = await catalog.rows("SELECT display_name, standing_version FROM merchants")
    assert tuple(row) == ("Renamed", 7)
    await catalog.tell_merchant(merchant, standing=STANDING_ACTIVE, version=8)
    assert (await snapshot(catalog, service.service_id)).merchant_standing == STANDING_ACTIVE
