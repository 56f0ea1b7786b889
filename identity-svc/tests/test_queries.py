from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.database import Database
from ams_common.queries import Queries
from identity_svc.service import IdentityServicer


async def test_every_query_is_good_for_this_schema(database: Database) -> None:
    queries = Queries.load("identity_svc")
    async with database.pool.acquire() as connection:
        for name in queries.names():
            await queries.prepare(connection, name)
    assert len(queries.names()) > 30


def test_every_rpc_has_a_handler_of_ours() -> None:
    missing = [
        method.name
        for method in pb.DESCRIPTOR.services_by_name["IdentityService"].methods
        if not getattr(IdentityServicer, method.name).__module__.startswith("identity_svc.")
    ]
    assert missing == []
