"""Who may call what."""

from functools import partial

from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams_common.database import Database
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import EVERYBODY, callers_let_in
from ams_common.testing.tokens import TestIssuer
from billing_svc.rpc import BillingService
from billing_svc.store import Store
from billing_svc.usage_client import UsageClient

ADMIN, MERCHANT, CONSUMER = {"admin"}, {"merchant"}, {"consumer"}
SELLERS = ADMIN | MERCHANT


async def test_each_rpc_lets_in_exactly_its_callers(
    database: Database[Store],
    pseudonyms: Pseudonyms,
    usage: UsageClient,
    issuer: TestIssuer,
    serve_rpc: Serve,
) -> None:
    servicer = BillingService(
        database=database,
        pseudonyms=pseudonyms,
        usage=usage,
    )
    descriptor = pb.DESCRIPTOR.services_by_name["BillingService"]
    channel = await serve_rpc(descriptor, partial(rpc.add_BillingServiceServicer_to_server, servicer))
    assert await callers_let_in(channel, descriptor, issuer) == {
        "IssueInvoices": SELLERS,
        "ListInvoiceRuns": SELLERS,
        "GetInvoiceRun": SELLERS,
        "ListInvoices": ADMIN,
        "ListMerchantInvoices": MERCHANT,
        "ListConsumerInvoices": CONSUMER,
        "GetInvoice": SELLERS | CONSUMER,
        "GetInvoiceDocument": SELLERS | CONSUMER,
        "MarkInvoicePaid": SELLERS,
        "VoidInvoice": SELLERS,
        "CreateCreditNote": SELLERS,
        "SendInvoice": SELLERS,
        "GetConsumerSpend": CONSUMER,
        "BatchGetConsumerSpend": CONSUMER,
        "WatchConsumerSpend": CONSUMER,
        "BatchGetSpend": {"usage-svc"},
        "BatchGetDaySpend": {"usage-svc"},
        "GetMerchantRevenue": MERCHANT,
        "BatchGetMerchantRevenue": MERCHANT,
        "WatchMerchantRevenue": MERCHANT,
        "GetStatement": SELLERS,
        "ListCommissionRates": ADMIN,
        "CreateCommissionRate": ADMIN,
        "PreviewPrice": EVERYBODY,
        "SimulatePrice": MERCHANT,
        "EstimateCost": CONSUMER,
        "GetReconciliation": SELLERS | CONSUMER,
        "GetInvoiceProof": SELLERS | CONSUMER,
        "ListInvoiceLineEvents": SELLERS | CONSUMER,
    }


async def test_the_server_understands_every_named_query_and_the_store_declares_it(database: Database) -> None:
    async with database.connection() as connection:
        for name in Store.queries.names():
            await Store.queries.prepare(connection, name)
    assert set(Store.queries.names()) == Store.declared()
