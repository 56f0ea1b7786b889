"""The gRPC services of catalog-svc, put together: for the process and for its tests."""

from collections.abc import Callable
from functools import partial

import grpc
from ams.catalog.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    discovery_service_pb2,
    discovery_service_pb2_grpc,
    invitation_service_pb2,
    invitation_service_pb2_grpc,
    lifecycle_service_pb2,
    lifecycle_service_pb2_grpc,
    openapi_service_pb2,
    openapi_service_pb2_grpc,
    revision_service_pb2,
    revision_service_pb2_grpc,
)
from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.outbox import Deliveries
from ams_common.platform_settings import DEFAULTS
from ams_common.sealing import Sealer
from google.protobuf.descriptor import ServiceDescriptor

from catalog_svc.grants import Grants
from catalog_svc.rpc import CatalogService
from catalog_svc.rpc.discovery import DiscoveryService
from catalog_svc.rpc.invitations import InvitationService
from catalog_svc.rpc.lifecycle import LifecycleService
from catalog_svc.rpc.openapi import OpenapiService
from catalog_svc.rpc.revisions import RevisionService
from catalog_svc.store import Store


def services_of(
    *,
    database: Database[Store],
    clock: Clock,
    sealer: Sealer,
    grants: Grants,
    deliveries: Deliveries,
    allow_private_upstreams: bool,
    consume_url: str,
    max_services: Callable[[], int] = lambda: DEFAULTS.max_services,
) -> list[tuple[ServiceDescriptor, Callable[[grpc.aio.Server], None]]]:
    """Each service's descriptor, and what adds its servicer to a server."""
    catalog = CatalogService(
        database=database,
        clock=clock,
        sealer=sealer,
        grants=grants,
        deliveries=deliveries,
        allow_private_upstreams=allow_private_upstreams,
        max_services=max_services,
    )
    revisions = RevisionService(
        database=database, clock=clock, allow_private_upstreams=allow_private_upstreams
    )
    lifecycle = LifecycleService(database=database, clock=clock, deliveries=deliveries)
    invitations = InvitationService(database=database, clock=clock)
    discovery = DiscoveryService(database=database, clock=clock, grants=grants)
    openapi = OpenapiService(database=database, clock=clock, grants=grants, consume_url=consume_url)
    return [
        (
            catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"],
            partial(catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server, catalog),
        ),
        (
            discovery_service_pb2.DESCRIPTOR.services_by_name["DiscoveryService"],
            partial(discovery_service_pb2_grpc.add_DiscoveryServiceServicer_to_server, discovery),
        ),
        (
            revision_service_pb2.DESCRIPTOR.services_by_name["RevisionService"],
            partial(revision_service_pb2_grpc.add_RevisionServiceServicer_to_server, revisions),
        ),
        (
            lifecycle_service_pb2.DESCRIPTOR.services_by_name["LifecycleService"],
            partial(lifecycle_service_pb2_grpc.add_LifecycleServiceServicer_to_server, lifecycle),
        ),
        (
            invitation_service_pb2.DESCRIPTOR.services_by_name["InvitationService"],
            partial(invitation_service_pb2_grpc.add_InvitationServiceServicer_to_server, invitations),
        ),
        (
            openapi_service_pb2.DESCRIPTOR.services_by_name["OpenapiService"],
            partial(openapi_service_pb2_grpc.add_OpenapiServiceServicer_to_server, openapi),
        ),
    ]
