import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import project_service_pb2 as project_pb
from ams_common.database import Database
from ams_common.queries import QueryStore
from google.protobuf.descriptor import ServiceDescriptor
from identity_svc.audit_log import AuditStore
from identity_svc.platform_settings import SettingsStore
from identity_svc.profiles import ProfileStore
from identity_svc.projects.store import ProjectStore
from identity_svc.rpc import IdentityService
from identity_svc.rpc.project_service import ProjectService
from identity_svc.second_factor_store import SecondFactorStore
from identity_svc.session_store import SessionStore
from identity_svc.sign_in_store import SignInStore
from identity_svc.store import Store
from identity_svc.team import TeamStore
from identity_svc.token_store import TokenStore

STORES: tuple[type[QueryStore], ...] = (
    Store,
    SessionStore,
    TokenStore,
    SignInStore,
    SecondFactorStore,
    AuditStore,
    TeamStore,
    SettingsStore,
    ProfileStore,
    ProjectStore,
)


@pytest.mark.parametrize("store", STORES)
async def test_every_query_can_be_prepared_and_is_declared_in_the_store(
    database: Database[Store], store: type[QueryStore]
) -> None:
    async with database.connection() as connection:
        for name in store.queries.names():
            await store.queries.prepare(connection, name)
    assert set(store.queries.names()) == store.declared()


@pytest.mark.parametrize(
    ("servicer", "descriptor"),
    [
        (IdentityService, pb.DESCRIPTOR.services_by_name["IdentityService"]),
        (ProjectService, project_pb.DESCRIPTOR.services_by_name["ProjectService"]),
    ],
)
def test_every_rpc_has_a_handler_of_ours(servicer: type, descriptor: ServiceDescriptor) -> None:
    missing = [
        method.name
        for method in descriptor.methods
        if not getattr(servicer, method.name).__module__.startswith("identity_svc.")
    ]
    assert missing == []
