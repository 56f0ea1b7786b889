import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.database import Database
from ams_common.queries import QueryStore
from identity_svc.audit_log import AuditStore
from identity_svc.notifications.store import NotificationStore
from identity_svc.platform_settings import SettingsStore
from identity_svc.profiles import ProfileStore
from identity_svc.rpc import IdentityService
from identity_svc.session_store import SessionStore
from identity_svc.store import Store
from identity_svc.team import TeamStore
from identity_svc.token_store import TokenStore

STORES: tuple[type[QueryStore], ...] = (
    Store,
    SessionStore,
    TokenStore,
    AuditStore,
    TeamStore,
    SettingsStore,
    ProfileStore,
    NotificationStore,
)


@pytest.mark.parametrize("store", STORES)
async def test_every_query_can_be_prepared_and_is_declared_in_the_store(
    database: Database[Store], store: type[QueryStore]
) -> None:
    async with database.connection() as connection:
        for name in store.queries.names():
            await store.queries.prepare(connection, name)
    assert set(store.queries.names()) == store.declared()


def test_every_rpc_has_a_handler_of_ours() -> None:
    missing = [
        method.name
        for method in pb.DESCRIPTOR.services_by_name["IdentityService"].methods
        if not getattr(IdentityService, method.name).__module__.startswith("identity_svc.")
    ]
    assert missing == []
