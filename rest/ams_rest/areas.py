"""The gRPC services behind the REST API: the one list of them."""

from dataclasses import dataclass

from ams.billing.v1 import billing_service_pb2, project_spend_service_pb2
from ams.catalog.v1 import (
    catalog_service_pb2,
    discovery_service_pb2,
    invitation_service_pb2,
    lifecycle_service_pb2,
    openapi_service_pb2,
    revision_service_pb2,
)
from ams.dead_letters.v1 import dead_letters_service_pb2
from ams.identity.v1 import (
    identity_service_pb2,
    notifications_service_pb2,
    profile_service_pb2,
    project_service_pb2,
    second_factor_service_pb2,
    session_service_pb2,
    settings_service_pb2,
    team_service_pb2,
    token_service_pb2,
)
from ams.keys.v1 import (
    exposures_service_pb2,
    grants_service_pb2,
    key_settings_service_pb2,
    keys_service_pb2,
    service_consumers_service_pb2,
)
from ams.registry.v1 import project_image_service_pb2, registry_service_pb2
from ams.usage.v1 import alert_service_pb2, report_service_pb2, usage_service_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Area:
    """One service: its name in documents and reports, its contract, and the process that serves it, which
    may serve others too. What every process serves for itself has none: the request's field `process_field`
    names the one that is asked."""

    name: str
    service: ServiceDescriptor
    process: str = ""
    process_field: str = ""

    def process_of(self, request: Message) -> str:
        """The process that answers this request; what a client has named needn't be one."""
        return self.process or str(getattr(request, self.process_field))


AREAS = (
    Area("identity", identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"], "identity"),
    Area("projects", project_service_pb2.DESCRIPTOR.services_by_name["ProjectService"], "identity"),
    Area("sessions", session_service_pb2.DESCRIPTOR.services_by_name["SessionService"], "identity"),
    Area("tokens", token_service_pb2.DESCRIPTOR.services_by_name["TokenService"], "identity"),
    Area(
        "second_factors",
        second_factor_service_pb2.DESCRIPTOR.services_by_name["SecondFactorService"],
        "identity",
    ),
    Area("team", team_service_pb2.DESCRIPTOR.services_by_name["TeamService"], "identity"),
    Area("settings", settings_service_pb2.DESCRIPTOR.services_by_name["SettingsService"], "identity"),
    Area("profiles", profile_service_pb2.DESCRIPTOR.services_by_name["ProfileService"], "identity"),
    Area(
        "notifications",
        notifications_service_pb2.DESCRIPTOR.services_by_name["NotificationsService"],
        "identity",
    ),
    Area("catalog", catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"], "catalog"),
    Area("discovery", discovery_service_pb2.DESCRIPTOR.services_by_name["DiscoveryService"], "catalog"),
    Area("revisions", revision_service_pb2.DESCRIPTOR.services_by_name["RevisionService"], "catalog"),
    Area("lifecycle", lifecycle_service_pb2.DESCRIPTOR.services_by_name["LifecycleService"], "catalog"),
    Area("openapi", openapi_service_pb2.DESCRIPTOR.services_by_name["OpenapiService"], "catalog"),
    Area("invitations", invitation_service_pb2.DESCRIPTOR.services_by_name["InvitationService"], "catalog"),
    Area("keys", keys_service_pb2.DESCRIPTOR.services_by_name["KeysService"], "keys"),
    Area("key_settings", key_settings_service_pb2.DESCRIPTOR.services_by_name["KeySettingsService"], "keys"),
    Area("grants", grants_service_pb2.DESCRIPTOR.services_by_name["GrantsService"], "keys"),
    Area(
        "service_consumers",
        service_consumers_service_pb2.DESCRIPTOR.services_by_name["ServiceConsumersService"],
        "keys",
    ),
    Area("exposures", exposures_service_pb2.DESCRIPTOR.services_by_name["ExposuresService"], "keys"),
    Area("usage", usage_service_pb2.DESCRIPTOR.services_by_name["UsageService"], "usage"),
    Area("reports", report_service_pb2.DESCRIPTOR.services_by_name["ReportService"], "usage"),
    Area("alerts", alert_service_pb2.DESCRIPTOR.services_by_name["AlertService"], "usage"),
    Area("billing", billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"], "billing"),
    Area(
        "project_spend",
        project_spend_service_pb2.DESCRIPTOR.services_by_name["ProjectSpendService"],
        "billing",
    ),
    Area("registry", registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"], "registry"),
    Area(
        "project_images",
        project_image_service_pb2.DESCRIPTOR.services_by_name["ProjectImageService"],
        "registry",
    ),
    Area(
        "dead_letters",
        dead_letters_service_pb2.DESCRIPTOR.services_by_name["DeadLettersService"],
        process_field="keeper",
    ),
)
PROCESSES = tuple(area.process for area in AREAS if area.name == area.process)
