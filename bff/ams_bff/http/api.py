"""Typed stubs of the services, for views."""

from dataclasses import dataclass

import grpc
from ams.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from ams.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from ams.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from ams.keys.v1.keys_service_pb2_grpc import KeysServiceStub
from ams.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from ams.usage.v1.usage_service_pb2_grpc import UsageServiceStub

from ams_bff.backends import Backends


@dataclass(frozen=True, slots=True)
class Services:
    """One stub each; call them through Visit.ask()."""

    identity: IdentityServiceStub
    catalog: CatalogServiceStub
    keys: KeysServiceStub
    usage: UsageServiceStub
    billing: BillingServiceStub
    registry: RegistryServiceStub

    @classmethod
    def over(cls, backends: Backends) -> "Services":
        """Over the channels that the REST API uses."""

        def channel(name: str) -> grpc.aio.Channel:
            return backends.channels[name]

        return cls(
            IdentityServiceStub(channel("identity")),
            CatalogServiceStub(channel("catalog")),
            KeysServiceStub(channel("keys")),
            UsageServiceStub(channel("usage")),
            BillingServiceStub(channel("billing")),
            RegistryServiceStub(channel("registry")),
        )
