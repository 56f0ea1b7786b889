"""The gRPC services behind the REST API: the one list of them."""

from dataclasses import dataclass

from ams.billing.v1 import billing_service_pb2
from ams.catalog.v1 import catalog_service_pb2
from ams.identity.v1 import identity_service_pb2
from ams.keys.v1 import keys_service_pb2
from ams.registry.v1 import registry_service_pb2
from ams.usage.v1 import usage_service_pb2
from google.protobuf.descriptor import ServiceDescriptor


@dataclass(frozen=True, slots=True)
class Area:
    """One service: its name in documents and reports, and its contract."""

    name: str
    service: ServiceDescriptor


AREAS = (
    Area("identity", identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"]),
    Area("catalog", catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"]),
    Area("keys", keys_service_pb2.DESCRIPTOR.services_by_name["KeysService"]),
    Area("usage", usage_service_pb2.DESCRIPTOR.services_by_name["UsageService"]),
    Area("billing", billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"]),
    Area("registry", registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"]),
)
