"""Changes that meet on the same rows wait for each other, and never in a circle (docs/locks.md)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import lifecycle_service_pb2 as lifecycle_pb
from ams.catalog.v1 import revision_service_pb2 as revision_pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_SUSPENDED
from ams_common.database import Database
from ams_common.testing.meetings import mingle
from catalog_svc.price_starts import write_due_snapshots
from catalog_svc.store import Store
from catalog_svc.testing import Catalog, create_request
from google.protobuf.field_mask_pb2 import FieldMask

pytestmark = pytest.mark.usefixtures("no_deadlock")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database[Store]]:
    """With a connection for each caller."""
    async with Database.open(database_url, Store, size=20) as opened:
        yield opened


async def test_sixteen_at_once_change_one_merchants_services(catalog: Catalog) -> None:
    merchant, admin = await catalog.known_merchant(), catalog.admin()
    services = [await catalog.publish(merchant, name=f"Weather {number}") for number in range(3)]
    for service in services:
        await catalog.schedule(merchant, service.service_id, "0.5", days=3)
    catalog.clock.advance(timedelta(days=4))  # a price starts for each
    versions = count(1)

    def changes_of(service_id: str) -> list[Any]:
        def move(who: Any, method: Any, request: Any, **more: Any) -> Any:
            return partial(who.call, method, request(service_id=service_id, **more))

        def update(**fields: Any) -> Any:
            mask = FieldMask(paths=list(fields))
            return move(
                merchant, catalog.stub.UpdateService, pb.UpdateServiceRequest, update_mask=mask, **fields
            )

        async def approve_revision() -> None:
            service = await merchant.call(
                catalog.stub.GetService, pb.GetServiceRequest(service_id=service_id)
            )
            revision = service.revision
            request = revision_pb.ApproveRevisionRequest(
                service_id=service_id, revision_id=revision.revision_id, version=revision.version
            )
            await admin.call(catalog.revisions.ApproveRevision, request)

        return [
            update(rate_limit_per_minute=77),
            update(description="Forecasting"),
            approve_revision,
            move(admin, catalog.lifecycle.SuspendService, lifecycle_pb.SuspendServiceRequest, reason="x"),
            move(admin, catalog.lifecycle.ReinstateService, lifecycle_pb.ReinstateServiceRequest),
            partial(catalog.schedule, merchant, service_id, "0.7", days=9),
        ]

    done = await mingle(
        [
            *(change for service in services for change in changes_of(service.service_id)),
            partial(merchant.call, catalog.stub.CreateService, create_request()),
            partial(write_due_snapshots, catalog.database, catalog.clock),
            lambda: catalog.tell_merchant(merchant, "Acme", STANDING_SUSPENDED, next(versions)),
            lambda: catalog.tell_merchant(merchant, "Acmeson", STANDING_ACTIVE, next(versions)),
            lambda: catalog.tell_merchant(merchant, "Acme", STANDING_ACTIVE, next(versions)),
        ]
    )
    assert done
