"""Who is told of services that wait, and of what was decided."""

from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import lifecycle_service_pb2 as lifecycle_pb
from ams.catalog.v1 import revision_service_pb2 as revision_pb
from ams.identity.v1.notifications_pb2 import Notification
from ams_common import topics
from catalog_svc.testing import Catalog
from google.protobuf.field_mask_pb2 import FieldMask


async def told(catalog: Catalog) -> list[tuple[str, str, bool]]:
    """To whom, what, and whether of a revision; in its order."""
    said: list[tuple[str, str, bool]] = []
    for payload in await catalog.outbox(topics.NOTIFICATIONS):
        notification = Notification.FromString(payload)
        kind = notification.WhichOneof("message")
        message: Any = getattr(notification, kind or "")
        assert message.service_name
        what = message.decision if kind == "listing_decided" else "waits"
        said.append((notification.user_id, what, message.is_revision))
    return said


async def test_admins_are_told_what_waits_and_the_merchant_what_was_decided(catalog: Catalog) -> None:
    merchant, admin = await catalog.known_merchant(), catalog.admin()
    service_id = (await catalog.submit(merchant)).service_id
    reject = pb.RejectServiceRequest(service_id=service_id, reason="No documentation")
    await admin.call(catalog.stub.RejectService, reject)
    await merchant.call(catalog.stub.SubmitService, pb.SubmitServiceRequest(service_id=service_id))
    await admin.call(catalog.stub.ApproveService, pb.ApproveServiceRequest(service_id=service_id))
    suspend = lifecycle_pb.SuspendServiceRequest(service_id=service_id, reason="Complaints")
    await admin.call(catalog.lifecycle.SuspendService, suspend)
    reinstate = lifecycle_pb.ReinstateServiceRequest(service_id=service_id)
    await admin.call(catalog.lifecycle.ReinstateService, reinstate)
    # What it does itself nobody has to tell it.
    await merchant.call(
        catalog.lifecycle.RetireService, lifecycle_pb.RetireServiceRequest(service_id=service_id)
    )
    its = str(merchant.user_id)
    assert await told(catalog) == [
        ("", "waits", False),
        (its, "rejected", False),
        ("", "waits", False),
        (its, "approved", False),
        (its, "suspended", False),
        (its, "reinstated", False),
    ]
    payloads = await catalog.outbox(topics.NOTIFICATIONS)
    rejected = Notification.FromString(payloads[1])
    assert rejected.listing_decided.reason == "No documentation"


async def test_changes_to_a_live_service_are_told_once_however_often_they_are_amended(
    catalog: Catalog,
) -> None:
    merchant, admin = await catalog.known_merchant(), catalog.admin()
    service = await catalog.publish(merchant)
    before = len(await told(catalog))
    for number, decide in enumerate(("approve", "reject")):
        for name in ("Climate", "Climates"):
            update = pb.UpdateServiceRequest(
                service_id=service.service_id, name=f"{name} {number}", update_mask=FieldMask(paths=["name"])
            )
            revised = await merchant.call(catalog.stub.UpdateService, update)
        its: Any = {
            "service_id": service.service_id,
            "revision_id": revised.revision.revision_id,
            "version": revised.revision.version,
        }
        if decide == "approve":
            approve = revision_pb.ApproveRevisionRequest(**its)
            await admin.call(catalog.revisions.ApproveRevision, approve)
        else:
            reject = revision_pb.RejectRevisionRequest(**its, reason="No")
            await admin.call(catalog.revisions.RejectRevision, reject)
    merchant_id = str(merchant.user_id)
    assert (await told(catalog))[before:] == [
        ("", "waits", True),
        (merchant_id, "approved", True),
        ("", "waits", True),
        (merchant_id, "rejected", True),
    ]
