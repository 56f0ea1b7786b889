"""Who may call what."""

from functools import partial

from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams_common.database import Database
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from ams_common.pseudonyms import Pseudonyms
from billing_svc.rpc import BillingService
from billing_svc.store import Store


async def test_each_rpc_lets_in_exactly_its_callers(
    database: Database[Store], pseudonyms: Pseudonyms, issuer: TestIssuer, serve_rpc: Serve
) -> None:
    servicer = BillingService(database=database, pseudonyms=pseudonyms)
    descriptor = pb.DESCRIPTOR.services_by_name["BillingService"]
    channel = await serve_rpc(descriptor, partial(rpc.add_BillingServiceServicer_to_server, servicer))
    assert await callers_let_in(channel, descriptor, issuer) == {
        "GenerateInvoices": {"admin", "merchant"},
        "ListInvoices": {"admin"},
        "ListMerchantInvoices": {"merchant"},
        "ListConsumerInvoices": {"consumer"},
        "GetInvoice": {"admin", "merchant", "consumer"},
        "GetConsumerSpend": {"consumer"},
        "GetMerchantRevenue": {"merchant"},
        "ListCommissionRates": {"admin"},
        "CreateCommissionRate": {"admin"},
    }


async def test_the_server_understands_every_named_query_and_the_store_declares_it(database: Database) -> None:
    async with database.connection() as connection:
        for name in Store.queries.names():
            await Store.queries.prepare(connection, name)
    assert set(Store.queries.names()) == Store.declared()
