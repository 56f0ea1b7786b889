"""GetService, ListServices, ListMerchantServices, GetServiceSnapshot."""

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ACTIVE, DRAFT, PENDING_APPROVAL
from ams_common.errors import InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from catalog_svc.testing import Catalog


async def test_a_service_is_shown_to_its_merchant_and_to_admins(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant("Acme Ltd")
    service = await catalog.create(merchant)
    request = pb.GetServiceRequest(service_id=service.service_id)
    assert await merchant.call(catalog.stub.GetService, request) == service
    assert await catalog.admin().call(catalog.stub.GetService, request) == service
    assert service.merchant_name == "Acme Ltd"


async def test_somebody_elses_service_looks_like_none(catalog: Catalog) -> None:
    service = await catalog.publish(await catalog.known_merchant())
    outsider = catalog.merchant()
    theirs = await outsider.error(
        catalog.stub.GetService, pb.GetServiceRequest(service_id=service.service_id)
    )
    missing = await outsider.error(catalog.stub.GetService, pb.GetServiceRequest(service_id=str(uuid7())))
    assert isinstance(theirs, NotFoundError)
    assert (theirs.code, theirs.message) == (missing.code, missing.message)


async def test_a_malformed_id_is_refused(catalog: Catalog) -> None:
    error = await catalog.admin().error(catalog.stub.GetService, pb.GetServiceRequest(service_id="weather"))
    assert isinstance(error, InvalidArgumentError)


async def test_a_merchant_lists_its_own_services_only_newest_first(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    own = [await catalog.create(merchant) for _ in range(3)]
    await catalog.create(catalog.merchant())
    listed = await merchant.call(catalog.stub.ListMerchantServices, pb.ListMerchantServicesRequest())
    assert list(listed.services) == own[::-1]
    assert listed.next_page_token == ""


async def test_an_admin_lists_all_services_and_filters_by_status_and_merchant(catalog: Catalog) -> None:
    admin, merchant, other = catalog.admin(), catalog.merchant(), catalog.merchant()
    draft, waiting = await catalog.create(merchant), await catalog.submit(merchant)
    elsewhere = await catalog.create(other)

    async def listed(request: pb.ListServicesRequest) -> list[str]:
        answer = await admin.call(catalog.stub.ListServices, request)
        return [service.service_id for service in answer.services]

    assert await listed(pb.ListServicesRequest()) == [
        elsewhere.service_id,
        waiting.service_id,
        draft.service_id,
    ]
    assert await listed(pb.ListServicesRequest(status=PENDING_APPROVAL)) == [waiting.service_id]
    assert await listed(pb.ListServicesRequest(merchant_id=str(merchant.user_id), status=DRAFT)) == [
        draft.service_id
    ]


async def test_pages_show_every_service_once_while_others_are_added(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    own = {(await catalog.create(merchant)).service_id for _ in range(5)}
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListMerchantServicesRequest(page_size=2, page_token=token)
        page = await merchant.call(catalog.stub.ListMerchantServices, request)
        seen += [service.service_id for service in page.services]
        await catalog.create(merchant)
        token = page.next_page_token
        if not token:
            break
    assert len(seen) == 5
    assert set(seen) == own


async def test_the_gateway_and_keys_svc_get_the_snapshot_by_id_and_by_slug(catalog: Catalog) -> None:
    service = await catalog.publish(await catalog.known_merchant())
    (written,) = await catalog.snapshots(service.service_id)
    for caller in (catalog.service("gateway"), catalog.service("keys-svc")):
        for name in (service.service_id, service.slug):
            request = pb.GetServiceSnapshotRequest(service=name)
            assert await caller.call(catalog.stub.GetServiceSnapshot, request) == written
    assert written.status == ACTIVE


async def test_the_snapshot_of_a_draft_tells_that_it_is_one(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant())
    request = pb.GetServiceSnapshotRequest(service=service.slug)
    snapshot = await catalog.service("gateway").call(catalog.stub.GetServiceSnapshot, request)
    assert snapshot.status == DRAFT
    assert snapshot.price_version_id == ""


async def test_there_is_no_snapshot_of_what_is_not_there(catalog: Catalog) -> None:
    gateway = catalog.service("gateway")
    for name in (str(uuid7()), "nothing", "Weather", "' OR 1=1 --"):
        error = await gateway.error(
            catalog.stub.GetServiceSnapshot, pb.GetServiceSnapshotRequest(service=name)
        )
        assert isinstance(error, NotFoundError)
        assert error.code == "service_not_found"
